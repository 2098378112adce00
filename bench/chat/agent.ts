import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { every } from './words.ts'

/** What an agent answers next: so many words, one every `everyMs`. */
export type Script = { words: number; everyMs: number; word: (n: number) => string }

/** Agents in this process: one at each path of `url`, which answers by its script. */
export type Agents = { url: string; scripts: Map<string, Script>; stop: () => void }

/** Starts them. Each streams server-sent events, a word a write. */
export async function startAgents(): Promise<Agents> {
  const scripts = new Map<string, Script>()
  const server = http.createServer(async (request, response) => {
    request.resume()
    const script = scripts.get(request.url ?? '')
    response.writeHead(script ? 200 : 500, { 'Content-Type': 'text/event-stream' })
    response.flushHeaders()
    response.socket?.setNoDelay(true)
    if (!script) return response.end()
    await every(script.everyMs, script.words, (n) => {
      if (!response.destroyed) response.write(`data: ${JSON.stringify({ content: script.word(n) })}\n\n`)
    })
    response.end('data: [DONE]\n\n')
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, scripts, stop }
}
