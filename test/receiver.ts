import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { hooks } from './receiver/hooks'
import { issuers } from './receiver/issuers'
import { logins } from './receiver/logins'
import { resend } from './receiver/mail'
import { oidcServers, stopOidcServers } from './receiver/oidc-server'
import { upstreams } from './receiver/upstreams'

/**
 * A real loopback server beside the tests: it plays receivers of webhooks (/hook/…), upstreams of chats (/upstream/…) and
 * providers that people log in with (/login/…), signs tokens as other issuers (/issuer/…), and starts OpenID providers (/oidc/start).
 */
export default async function start(project: TestProject): Promise<() => void> {
  const server = http.createServer((request, response) => {
    if (request.url?.startsWith('/hook/')) return hooks(request, response)
    if (request.url?.startsWith('/upstream/')) return upstreams(request, response)
    if (request.url?.startsWith('/issuer/')) return issuers(request, response)
    if (request.url?.startsWith('/login/')) return logins(request, response)
    if (request.url?.startsWith('/mail/')) return void resend(request, response)
    if (request.url === '/oidc/start') return oidcServers(request, response)
    response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  project.provide('receiverUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return () => {
    server.closeAllConnections()
    server.close()
    stopOidcServers()
  }
}
