import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import type { Code, Idp } from '../receiver/logins'
import type { ErrorBody } from '../world'
import { Isolate } from './isolates'

// A browser that logs in at a provider of test/receiver/logins.ts: it goes where it is sent, and keeps cookies.

const RECEIVER = (env as unknown as { RECEIVER_URL: string }).RECEIVER_URL
const pack = (value: unknown) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')

/** Signs like those that a form would have to encode. */
const CLIENT = { client_id: 'causeway:test', client_secret: 'a secret+with/signs:100%' }
const random = () => crypto.randomUUID().slice(0, 8)

/** A provider of its own, and how it is configured here. */
export function makeIdp(behaves: Partial<Idp> = {}, kind: 'idp' | 'github' = 'idp') {
  const idp: Idp = { id: random(), ...CLIENT, ...behaves }
  const url = `${RECEIVER}/login/${kind}/${pack(idp)}`
  const asked = async (): Promise<string[]> => (await fetch(`${url}/asked`)).json()
  return { url, asked, id: idp.id }
}

export const oidc = (url: string) => ({ ...CLIENT, issuer: url })
export const microsoft = (url: string, tenant = 'common') => ({
  ...CLIENT,
  kind: 'microsoft',
  base_url: url,
  tenant,
})
export const github = (url: string) => ({ ...CLIENT, kind: 'github', base_url: url, api_url: `${url}/api` })

/** An isolate whose setting OAUTH_PROVIDERS names these. */
export const isolateWith = (providers: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  new Isolate({ OAUTH_PROVIDERS: JSON.stringify(providers), ...more } as never)

export type Started = { url: URL; state: string }
export type Done = {
  status: number
  location: URL | null
  data: { access_token: string; refresh_token: string; message: string }
  error: ErrorBody
  cookies: string[]
}

export class Browser {
  readonly cookies = new Map<string, string>()

  constructor(readonly isolate: Isolate) {}

  /** Starts a login, and reads where it leads. */
  async start(provider: string, query: Record<string, string> = {}): Promise<Started> {
    const answer = await this.get(`/api/v1/auth/oauth/${provider}/authorize?${new URLSearchParams(query)}`, {
      Accept: 'text/html',
    })
    expect([answer.status, answer.location?.searchParams.get('error')]).toEqual([302, null])
    const url = answer.location as URL
    return { url, state: url.searchParams.get('state') ?? '' }
  }

  /** Comes back with these parameters, as a program that reads JSON unless it says otherwise. */
  back(provider: string, params: Record<string, string>, accept = 'application/json'): Promise<Done> {
    return this.get(`/api/v1/auth/oauth/${provider}/callback?${new URLSearchParams(params)}`, {
      Accept: accept,
    })
  }

  /** A whole login. */
  async login(
    provider: string,
    who: Partial<Code>,
    options: { query?: Record<string, string>; accept?: string } = {},
  ): Promise<Done> {
    const { url, state } = await this.start(provider, options.query)
    return this.back(provider, { state, code: codeFor(url, who) }, options.accept)
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Done> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await this.isolate.ask('GET', path, {
      headers: { ...(cookie ? { Cookie: cookie } : {}), ...headers },
    })
    const cookies = response.headers.getSetCookie()
    for (const one of cookies) this.keep(one)
    const text = await response.text()
    const { data, error } = text.startsWith('{') ? JSON.parse(text) : {}
    const location = response.headers.get('Location')
    return { status: response.status, location: location ? new URL(location) : null, data, error, cookies }
  }

  private keep(cookie: string): void {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
    if (/max-age=0/i.test(cookie)) this.cookies.delete(name)
    else this.cookies.set(name, value)
  }
}

/** The code that a provider would give for this login: who logged in, and what the token is to look like. */
export function codeFor(url: URL, who: Partial<Code>): string {
  const at = url.searchParams
  const now = Math.floor(Date.now() / 1000)
  const { claims, ...rest } = who
  return pack({
    id: random(),
    challenge: at.get('code_challenge') ?? '',
    redirect_uri: at.get('redirect_uri') ?? '',
    claims: {
      iss: url.origin + url.pathname.replace(/\/authorize$/, ''),
      aud: at.get('client_id') ?? '',
      nonce: at.get('nonce') ?? '',
      iat: now,
      exp: now + 300,
      sub: random(),
      ...claims,
    },
    ...rest,
  } satisfies Code)
}

/** Claims of a person whose address the provider has made sure of. */
export const person = (email: string, more: Record<string, unknown> = {}) => ({
  claims: { sub: `sub-${email}`, email, email_verified: true, name: 'Ada Lovelace', ...more },
})

/** GitHub's answers about a person. */
export const hubber = (id: number, email: string, more: Partial<Code> = {}) => ({
  user: { id, login: 'ada', name: 'Ada' },
  emails: [
    { email: 'other@example.com', primary: false, verified: true },
    { email, primary: true, verified: true },
  ],
  ...more,
})
