import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { hooks } from './receiver/hooks'
import { upstreams } from './receiver/upstreams'

/** A real loopback server beside the tests: it plays receivers of webhooks (/hook/…) and upstreams of chats (/upstream/…). */
export default async function start(project: TestProject): Promise<() => void> {
  const server = http.createServer((request, response) => {
    if (request.url?.startsWith('/hook/')) return hooks(request, response)
    if (request.url?.startsWith('/upstream/')) return upstreams(request, response)
    response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  project.provide('receiverUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return () => {
    server.closeAllConnections()
    server.close()
  }
}
