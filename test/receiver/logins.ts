import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { base64url, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'

// Providers that people log in with. They hold nothing: how one behaves is written into its address, who logs in into
// the code. What they are sent they check as the real ones do, and more strictly.

/** How a provider of OpenID Connect behaves; it is part of its address, so each test has its own. */
export type Idp = {
  id: string
  client_id: string
  client_secret: string
  /** What the document says instead of the truth. */
  document?: Record<string, unknown>
  /** Takes the client's secret in the body alone. */
  post?: boolean
  /** Whose keys these are (Microsoft). */
  key_issuer?: string
  /** Each reading of the keys gives the next list of names; the last goes on. */
  keys?: string[][]
  /** Which parts answer 500, or lead elsewhere. */
  down?: string[]
  redirects?: string[]
}

/** What the browser brings back: in reality a random word. */
export type Code = {
  id: string
  challenge: string
  redirect_uri: string
  claims: JWTPayload
  /** How the id token differs from a good one. */
  token?: {
    header?: Record<string, unknown>
    sign?: 'none' | 'secret' | 'public-key' | 'stranger'
    key?: string
    /** Bytes of a claim more. */
    padding?: number
  }
  /** What userinfo says. */
  userinfo?: Record<string, unknown>
  /** What the token endpoint answers instead; `size` is of its body. */
  answer?: { status: number; body?: unknown; size?: number }
  /** GitHub's two answers. */
  user?: Record<string, unknown>
  emails?: unknown
  emails_status?: number
}

const pack = (value: unknown) => base64url.encode(JSON.stringify(value))
const unpack = <T>(value: string): T => JSON.parse(new TextDecoder().decode(base64url.decode(value))) as T

type Named = { jwk: JWK; sign: (claims: JWTPayload, header: Record<string, unknown>) => Promise<string> }

async function makeKey(kid: string, alg: string): Promise<Named> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return {
    jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' },
    sign: (claims, header) =>
      new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey),
  }
}

const KEYS: Record<string, Promise<Named>> = {
  rsa: makeKey('rsa', 'RS256'),
  pss: makeKey('pss', 'PS256'),
  ec: makeKey('ec', 'ES256'),
  ed: makeKey('ed', 'EdDSA'),
  // Has the name of one that is published, and is another.
  stranger: makeKey('rsa', 'RS256'),
}

const usedCodes = new Set<string>()
const asked = new Map<string, string[]>()

class Refused extends Error {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {
    super(JSON.stringify(body))
  }
}

/** Providers under /login/: `idp` speaks OpenID Connect, `github` what GitHub speaks; `asked` tells what came. */
export async function logins(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', `http://${request.headers.host}`)
  const [, , kind = '', packed = '', ...rest] = url.pathname.split('/')
  const path = rest.join('/')
  const json = (status: number, body: unknown) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  try {
    const idp = unpack<Idp>(packed)
    if (path === 'asked') return void json(200, asked.get(idp.id) ?? [])
    asked.set(idp.id, [...(asked.get(idp.id) ?? []), `${request.method} ${path}`])
    const form = new URLSearchParams(await text(request))
    const base = `${url.origin}/login/${kind}/${packed}`
    if (idp.down?.includes(path)) return void json(500, { error: 'down' })
    if (idp.redirects?.includes(path))
      return void response.writeHead(307, { location: `${url.origin}/hook/to?key=${idp.id}` }).end()
    const answer = await (kind === 'github' ? github : oidc)({ idp, path, base, form, request })
    json(answer.status ?? 200, answer.body)
  } catch (error) {
    if (error instanceof Refused) json(error.status, error.body)
    else json(500, { error: String(error) })
  }
}

type Asked = { idp: Idp; path: string; base: string; form: URLSearchParams; request: IncomingMessage }
type Answer = { status?: number; body: unknown }

async function oidc({ idp, path, base, form, request }: Asked): Promise<Answer> {
  const directory = /^(?:[\w.-]+\/v2\.0\/)?\.well-known\/openid-configuration$/.exec(path)
  if (directory) return { body: documentOf(idp, base, path.includes('v2.0')) }
  if (path === 'keys') return { body: { keys: await publishedKeys(idp) } }
  if (path === 'userinfo') {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
    return token ? { body: unpack<Code>(token).userinfo } : { status: 401, body: {} }
  }
  if (path !== 'token') return { status: 404, body: {} }
  if (form.get('grant_type') !== 'authorization_code')
    throw new Refused(400, { error: 'unsupported_grant_type' })
  refuseOtherClient(idp, form, request)
  const code = useCode(form, { error: 'invalid_grant' })
  if (code.answer) {
    const { status, body, size = 0 } = code.answer
    return { status, body: body ?? 'x'.repeat(size) }
  }
  return {
    body: {
      token_type: 'Bearer',
      access_token: pack({ ...code, id: 'access' }),
      id_token: await idToken(idp, code),
    },
  }
}

function documentOf(idp: Idp, base: string, microsoft: boolean) {
  return {
    issuer: microsoft ? `${base}/{tenantid}/v2.0` : base,
    authorization_endpoint: `${base}/authorize?tenant=kept`,
    token_endpoint: `${base}/token`,
    jwks_uri: `${base}/keys`,
    userinfo_endpoint: `${base}/userinfo`,
    ...(idp.post ? { token_endpoint_auth_methods_supported: ['client_secret_post'] } : {}),
    ...idp.document,
  }
}

async function publishedKeys(idp: Idp): Promise<JWK[]> {
  const lists = idp.keys ?? [['rsa', 'ec', 'pss', 'ed']]
  const readings = (asked.get(idp.id) ?? []).filter((one) => one === 'GET keys').length
  const names = lists[Math.min(readings, lists.length) - 1] ?? []
  const found = await Promise.all(names.map(async (name) => (await KEYS[name])?.jwk ?? {}))
  return found.map((key) => (idp.key_issuer ? { ...key, issuer: idp.key_issuer } : key)) as JWK[]
}

/** RFC 6749, 2.3.1: by Basic with both halves encoded as in a form, or in the body; never both. */
function refuseOtherClient(idp: Idp, form: URLSearchParams, request: IncomingMessage): void {
  const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1]
  const halves: string[] = basic ? Buffer.from(basic, 'base64').toString().split(':') : []
  const [id, secret] = basic
    ? halves.map((half) => new URLSearchParams(`x=${half}`).get('x'))
    : [form.get('client_id'), form.get('client_secret')]
  const right = id === idp.client_id && secret === idp.client_secret
  if (!right || (basic !== undefined) === (idp.post === true) || (basic && form.has('client_secret')))
    throw new Refused(401, { error: 'invalid_client' })
}

/** RFC 7636, 4.6, and RFC 6749, 4.1.3: the verifier, the address, and no second use. */
function useCode(form: URLSearchParams, refusal: unknown, status = 400): Code {
  let code: Code
  try {
    code = unpack<Code>(form.get('code') ?? '')
  } catch {
    throw new Refused(status, refusal)
  }
  const verifier = form.get('code_verifier') ?? ''
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const fits =
    /^[\w.~-]{43,128}$/.test(verifier) &&
    challenge === code.challenge &&
    form.get('redirect_uri') === code.redirect_uri &&
    !usedCodes.has(code.id)
  if (!fits) throw new Refused(status, refusal)
  usedCodes.add(code.id)
  return code
}

async function idToken(idp: Idp, { claims: said, token = {} }: Code): Promise<string> {
  const claims = token.padding ? { ...said, padding: 'x'.repeat(token.padding) } : said
  const key = await KEYS[token.key ?? 'rsa']
  if (!key) throw new Error(`no key ${token.key}`)
  switch (token.sign) {
    case 'none':
      return new UnsecuredJWT(claims).encode()
    case 'secret':
    case 'public-key': {
      // The two classical confusions of algorithms: HMAC by what both sides know.
      const secret = token.sign === 'secret' ? idp.client_secret : JSON.stringify(key.jwk)
      const header = { alg: 'HS256', kid: 'rsa', ...token.header }
      return new SignJWT(claims).setProtectedHeader(header).sign(new TextEncoder().encode(secret))
    }
    case 'stranger':
      return ((await KEYS.stranger) as Named).sign(claims, token.header ?? {})
    default:
      return key.sign(claims, token.header ?? {})
  }
}

/** docs.github.com: errors of the token endpoint come with 200; the API wants to know who asks, and by which version. */
async function github({ idp, path, form, request }: Asked): Promise<Answer> {
  if (path === 'login/oauth/access_token') {
    if (request.headers.accept !== 'application/json') return { body: 'error=accept' }
    if (form.get('client_id') !== idp.client_id || form.get('client_secret') !== idp.client_secret)
      return { body: { error: 'incorrect_client_credentials' } }
    const code = useCode(form, { error: 'bad_verification_code' }, 200)
    return { body: { access_token: pack(code), token_type: 'bearer', scope: 'read:user,user:email' } }
  }
  const { authorization, 'user-agent': agent, 'x-github-api-version': version } = request.headers
  const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1]
  if (!token || !agent || version !== '2022-11-28') return { status: 403, body: { message: 'Forbidden' } }
  const code = unpack<Code>(token)
  if (path === 'api/user') return { body: code.user }
  if (path === 'api/user/emails') return { status: code.emails_status ?? 200, body: code.emails }
  return { status: 404, body: { message: 'Not Found' } }
}
