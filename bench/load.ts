import net from 'node:net'

// The load generator. It speaks HTTP/1.1 over raw sockets, one request in flight on each: a general client would spend
// more of the machine than what is measured. Requests carry their whole URL, so that the
// service sees https as it does in production.

/** One request, sent over and over. */
export type Shot = {
  port: number
  method: string
  url: string
  headers: Record<string, string>
  body?: string
  /** The status that every answer must have. */
  status: number
}

export type LoadOrder = { shot: Shot; connections: number; milliseconds: number }

/** What came of it: answers, the seconds they took, and the latency of each in milliseconds. */
export type LoadResult = { answers: number; seconds: number; latencies: Float64Array; refused: string | null }

const HEAD_END = Buffer.from('\r\n\r\n')
const CHUNKS_END = Buffer.from('0\r\n\r\n')

function bytesOf(shot: Shot): Buffer {
  const body = shot.body ?? ''
  const headers: Record<string, string> = { Host: new URL(shot.url).host, ...shot.headers }
  if (shot.body !== undefined) headers['Content-Length'] = String(Buffer.byteLength(body))
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${shot.method} ${shot.url} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
}

/** Whether `answer` is whole: 0 while it is not, else its status. */
export function statusWhenWhole(answer: Buffer): number {
  const headEnd = answer.indexOf(HEAD_END)
  if (headEnd < 0) return 0
  const head = answer.toString('latin1', 0, headEnd)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  const whole =
    length === undefined
      ? answer.subarray(-CHUNKS_END.length).equals(CHUNKS_END)
      : answer.length >= headEnd + HEAD_END.length + Number(length)
  return whole ? Number(head.slice(9, 12)) : 0
}

/** Keeps `connections` requests in flight for so long, and waits for the last answers. */
export async function fire({ shot, connections, milliseconds }: LoadOrder): Promise<LoadResult> {
  const request = bytesOf(shot)
  const latencies: number[] = []
  let refused: string | null = null
  const started = performance.now()
  const until = started + milliseconds

  const keepFiring = () =>
    new Promise<void>((resolve, reject) => {
      const socket = net.connect({ port: shot.port, host: '127.0.0.1', noDelay: true })
      let sentAt = 0
      let got: Buffer = Buffer.alloc(0)
      const send = () => {
        sentAt = performance.now()
        socket.write(request)
      }
      socket.on('connect', send)
      socket.on('error', reject)
      socket.on('close', () => resolve())
      socket.on('data', (chunk) => {
        got = got.length === 0 ? chunk : Buffer.concat([got, chunk])
        const status = statusWhenWhole(got)
        if (status === 0) return
        if (status !== shot.status) refused ??= got.toString().slice(0, 2_000)
        got = Buffer.alloc(0)
        const now = performance.now()
        latencies.push(now - sentAt)
        if (now < until && refused === null) send()
        else socket.end()
      })
    })
  await Promise.all(Array.from({ length: connections }, keepFiring))
  const seconds = (performance.now() - started) / 1000
  return { answers: latencies.length, seconds, latencies: Float64Array.from(latencies), refused }
}
