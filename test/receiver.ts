import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { hooks } from './receiver/hooks'
import { issuers } from './receiver/issuers'
import { logins } from './receiver/logins'
import { resend } from './receiver/mail'
import { mlEngines } from './receiver/ml-engines'
import { modelServers } from './receiver/models'
import { oidcServers, stopOidcServers } from './receiver/oidc-server'
import { pushServices } from './receiver/push-services'
import { speech } from './receiver/speech'
import { stripeServer } from './receiver/stripe'
import { telnyx } from './receiver/telnyx'
import { transcribers } from './receiver/transcribers'
import { ultravox } from './receiver/ultravox'
import { upstreams } from './receiver/upstreams'

/**
 * A real loopback server beside the tests: it plays receivers of webhooks (/hook/…), upstreams of chats (/upstream/…) and
 * providers that people log in with (/login/…), signs tokens as other issuers (/issuer/…), hears recordings (/transcriber/…), recommends (/ml/…), has calls made (/ultravox/…, /telnyx/…) and speech made (/speech/…), and starts OpenID providers (/oidc/start).
 */
export default async function start(project: TestProject): Promise<() => void> {
  const server = http.createServer((request, response) => {
    if (request.url?.startsWith('/hook/')) return hooks(request, response)
    if (request.url?.startsWith('/upstream/')) return upstreams(request, response)
    if (request.url?.startsWith('/issuer/')) return issuers(request, response)
    if (request.url?.startsWith('/login/')) return logins(request, response)
    if (request.url?.startsWith('/ml/')) return void mlEngines(request, response)
    if (request.url?.startsWith('/model/')) return void modelServers(request, response)
    if (request.url?.startsWith('/mail/')) return void resend(request, response)
    if (request.url?.startsWith('/push/')) return void pushServices(request, response)
    if (request.url?.startsWith('/stripe/')) return void stripeServer(request, response)
    if (request.url?.startsWith('/transcriber/')) return void transcribers(request, response)
    if (request.url?.startsWith('/telnyx/')) return void telnyx(request, response)
    if (request.url?.startsWith('/speech/')) return void speech(request, response)
    if (request.url?.startsWith('/ultravox/')) return void ultravox(request, response)
    if (request.url === '/oidc/start') return oidcServers(request, response)
    response.writeHead(404).end()
  })
  // A connection that Node ends while workerd sends on it is a lost request, and no test is about that by chance.
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  project.provide('receiverUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return () => {
    server.closeAllConnections()
    server.close()
    stopOidcServers()
  }
}
