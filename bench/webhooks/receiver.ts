import http from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request as the receiver saw it: `at` is when its head was whole, by the clock of this process. */
export type Arrival = { path: string; id: string; attempt: number; at: number }

/** Takes every delivery and notes it; what comes to a path that is dead is never answered. */
export type Receiver = {
  url: string
  arrivals: Arrival[]
  dead: Set<string>
  stop: () => Promise<void>
}

/** Starts it on loopback, on `port` where one is given. */
export async function startReceiver(port = 0): Promise<Receiver> {
  const arrivals: Arrival[] = []
  const dead = new Set<string>()
  const server = http.createServer((request, response) => {
    const { url: path = '', headers } = request
    arrivals.push({
      path,
      id: String(headers['webhook-id']),
      attempt: Number(headers['webhook-attempt']),
      at: performance.now(),
    })
    request.resume()
    if (!dead.has(path)) response.end('ok')
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, arrivals, dead, stop }
}
