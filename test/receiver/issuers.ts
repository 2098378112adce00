import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import Provider from 'oidc-provider'

// OpenID providers that sign access tokens for whoever asks, each under a key of its own: /issuer/{key}/…

/** What `POST /issuer/{key}/control` takes. */
export type Control = {
  /** How every request ends; null for a provider that answers. */
  down?: 'status' | 'hang' | 'reset' | 'redirect' | 'huge' | 'nonsense' | null
  /** It signs with new keys; whether the ones before stay published. */
  rotate?: 'keep' | 'drop'
  /** How long it takes to give its keys. */
  delay_ms?: number
}

/** What `GET /issuer/{key}/control` tells. */
export type Watched = { jwks: number; discovery: number; kids: string[] }

/** Who a token is for, and how it is signed; a client's id spells it. */
export type Asked = {
  sub: string
  aud?: string
  alg?: string
  ttl?: number
  claims?: Record<string, unknown>
}

export const AUDIENCE = 'https://api.example.com'
export const SHARED_SECRET = 'a secret of thirty-two characters and more'

type Server = {
  issuer: string
  keys: JWK[]
  provider: Provider
  down: string | null
  delay: number
  watched: Watched
}

const servers = new Map<string, Promise<Server>>()

export async function issuers(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? ''
  const [, key = '', path = '/'] = /^\/issuer\/([^/]+)(\/[^?]*)?/.exec(url) ?? []
  const server = await serverOf(`http://${request.headers.host}/issuer/${key}`, key)
  if (path === '/control') return control(server, request, response)
  if (path === '/jwks') server.watched.jwks += 1
  if (path.startsWith('/.well-known')) server.watched.discovery += 1
  if (server.down !== null) return fail(server.down, response)
  if (path === '/jwks' && server.delay > 0) await new Promise((resolve) => setTimeout(resolve, server.delay))
  // The provider learns from what is left out where it is mounted.
  const mounted = Object.assign(request, { originalUrl: url, url: url.slice(`/issuer/${key}`.length) })
  return void server.provider.callback()(mounted, response)
}

function serverOf(issuer: string, key: string): Promise<Server> {
  let server = servers.get(key)
  if (!server) {
    server = (async () => {
      const keys = await newKeys()
      const watched = { jwks: 0, discovery: 0, kids: kidsOf(keys) }
      return { issuer, keys, provider: providerOf(issuer, keys), down: null, delay: 0, watched }
    })()
    servers.set(key, server)
  }
  return server
}

const kidsOf = (keys: JWK[]) => keys.map((key) => key.kid ?? '')

async function newKeys(): Promise<JWK[]> {
  const id = crypto.randomUUID().slice(0, 8)
  const kinds = [
    ['RS256', 'rsa'],
    ['ES256', 'ec'],
    ['EdDSA', 'ed'],
  ] as const
  return Promise.all(
    kinds.map(async ([alg, name]) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true })
      return { ...(await exportJWK(privateKey)), kid: `${name}-${id}`, use: 'sig' }
    }),
  )
}

function providerOf(issuer: string, keys: JWK[]): Provider {
  return new Provider(issuer, {
    adapter: adapterOf,
    jwks: { keys },
    formats: {
      customizers: {
        jwt: (_ctx: unknown, token: { clientId?: string }, jwt: { payload: object }) => {
          const { sub, claims } = askedBy(token.clientId ?? '')
          Object.assign(jwt.payload, { sub, ...claims })
          return jwt
        },
      },
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:api',
        getResourceServerInfo: (_ctx: unknown, _resource: string, client: { clientId: string }) => {
          const { aud = AUDIENCE, alg = 'RS256', ttl = 300 } = askedBy(client.clientId)
          const sign = alg === 'HS256' ? { alg, key: Buffer.from(SHARED_SECRET) } : { alg }
          return { scope: '', audience: aud, accessTokenFormat: 'jwt', accessTokenTTL: ttl, jwt: { sign } }
        },
      },
    },
  } as never)
}

const askedBy = (clientId: string): Asked => JSON.parse(Buffer.from(clientId, 'base64url').toString())

/** Every client there could be; nothing else is kept. */
function adapterOf(model: string) {
  return {
    find: async (id: string) =>
      model === 'Client'
        ? {
            client_id: id,
            client_secret: 'secret',
            grant_types: ['client_credentials'],
            response_types: [],
            redirect_uris: [],
            token_endpoint_auth_method: 'client_secret_post',
          }
        : undefined,
    upsert: async () => undefined,
    destroy: async () => undefined,
  }
}

async function control(server: Server, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'POST') {
    const { down, rotate, delay_ms }: Control = JSON.parse(await text(request))
    if (down !== undefined) server.down = down
    if (delay_ms !== undefined) server.delay = delay_ms
    if (rotate) {
      const fresh = await newKeys()
      server.keys = rotate === 'keep' ? [...fresh, ...server.keys] : fresh
      server.watched.kids = kidsOf(server.keys)
      server.provider = providerOf(server.issuer, server.keys)
    }
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(server.watched))
}

function fail(how: string, response: ServerResponse): void {
  if (how === 'status') response.writeHead(500).end('down')
  else if (how === 'redirect') response.writeHead(302, { location: '/issuer/elsewhere/jwks' }).end()
  else if (how === 'huge') response.writeHead(200).end(`{"keys":["${'x'.repeat(300 * 1024)}"]}`)
  else if (how === 'nonsense') response.writeHead(200).end('<html>')
  else if (how === 'reset') response.destroy()
}
