import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import Provider from 'oidc-provider'

/** One client of a server to be started, and who may log in there. */
export type OidcServer = {
  client_id: string
  client_secret: string
  redirect_uri: string
  people: { sub: string; email: string; email_verified: boolean; name: string }[]
}

const servers: http.Server[] = []

/** `POST /oidc/start` starts a certified OpenID provider of its own; whoever `login_hint` names is logged in without a page. */
export async function oidcServers(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const wanted = JSON.parse(await text(request)) as OidcServer
  const server = http.createServer()
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: wanted.client_id,
        client_secret: wanted.client_secret,
        redirect_uris: [wanted.redirect_uri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    findAccount: (_ctx, sub) => {
      const person = wanted.people.find((one) => one.sub === sub)
      return person && { accountId: sub, claims: async () => person }
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  })
  const callback = provider.callback()
  server.on('request', (req, res) => {
    if (req.url?.startsWith('/interaction/')) void interact(provider, req, res)
    else void callback(req, res)
  })
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ issuer }))
}

/** Logs in whoever the hint names, and consents to all that is asked. */
async function interact(provider: Provider, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(req, res)
  if (prompt.name === 'login')
    return provider.interactionFinished(req, res, { login: { accountId: String(params.login_hint) } })
  const grant = new provider.Grant({
    accountId: session?.accountId ?? '',
    clientId: String(params.client_id),
  })
  grant.addOIDCScope(String(params.scope))
  return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } })
}

export function stopOidcServers(): void {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
}
