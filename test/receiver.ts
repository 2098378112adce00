import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'

/** A real loopback server beside the tests: it plays receivers of webhooks and upstreams of chats. See `handle`. */
export default async function start(project: TestProject): Promise<() => void> {
  const server = http.createServer((request, response) => {
    response.writeHead(200).end('ok')
    request.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  project.provide('receiverUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return () => void server.close()
}
