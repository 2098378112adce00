import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'

/** What the receiver does with one request; all but `answer` go wrong in the way that their name says. */
export type Step = {
  does?:
    | 'answer'
    | 'hang'
    | 'reset'
    | 'reset-body'
    | 'drip'
    | 'drip-headers'
    | 'huge'
    | 'gzip-bomb'
    | 'short'
    | 'raw'
  status?: number
  headers?: Record<string, string | string[]>
  body?: string
  /** Of `raw`: the answer's very bytes, one character each; then the connection is closed. */
  raw?: string
  /** Before the answer's headers. */
  delay_ms?: number
}

/** Takes a step; the connection is the caller's to look at. */
export async function take(step: Step, response: ServerResponse): Promise<void> {
  const { does = 'answer', status = 200, headers = {}, body = 'ok', delay_ms = 0 } = step
  if (delay_ms > 0) await new Promise((resolve) => setTimeout(resolve, delay_ms))
  if (response.destroyed) return
  switch (does) {
    case 'answer':
      response.writeHead(status, headers).end(body)
      return
    case 'hang':
      return
    case 'reset':
      response.socket?.resetAndDestroy()
      return
    case 'raw':
      response.socket?.end(Buffer.from(step.raw ?? '', 'latin1'))
      return
    case 'drip-headers':
      response.socket?.write(`HTTP/1.1 ${status} OK\r\nx-drip: `)
      drip(response, () => response.socket?.write('.'))
      return
    case 'gzip-bomb':
      response.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(BOMB())
      return
  }
  const announced = does === 'short' ? { 'content-length': '1000' } : {}
  response.writeHead(status, { ...announced, ...headers })
  if (does === 'drip') drip(response, () => response.write('.'))
  else if (does === 'huge') pour(response)
  else {
    response.write('the beginning')
    const { socket } = response
    setTimeout(() => (does === 'short' ? socket?.end() : socket?.resetAndDestroy()), 50)
  }
}

function drip(response: ServerResponse, one: () => void): void {
  const timer = setInterval(one, 20)
  response.on('close', () => clearInterval(timer))
}

/** A body without an end, as fast as the reader takes it. */
function pour(response: ServerResponse): void {
  const piece = 'x'.repeat(64 * 1024)
  const more = () => {
    while (!response.destroyed && response.write(piece));
  }
  response.on('drain', more)
  more()
}

/** 50 MB of zeros in 50 kB. */
const BOMB = () => gzipSync(Buffer.alloc(50 * 1024 * 1024))
