import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import type { OidcServer } from '../receiver/oidc-server'
import { someone } from './kit'
import { Browser, isolateWith } from './oauth-kit'

// Against a certified implementation of OpenID Connect, which checks what it is sent more strictly than anything of ours.

const RECEIVER = (env as unknown as { RECEIVER_URL: string }).RECEIVER_URL
const CLIENT = { client_id: 'causeway', client_secret: 'a-secret-of-some-length-0123456789' }
const ada = { sub: 'ada', email: someone(), email_verified: true, name: 'Ada Lovelace' }
const eve = { sub: 'eve', email: someone(), email_verified: false, name: 'Eve' }
let issuer: string

beforeAll(async () => {
  const wanted: OidcServer = {
    ...CLIENT,
    redirect_uri: 'http://localhost:8787/api/v1/auth/oauth/acme/callback',
    people: [ada, eve],
  }
  const started = await fetch(`${RECEIVER}/oidc/start`, { method: 'POST', body: JSON.stringify(wanted) })
  issuer = ((await started.json()) as { issuer: string }).issuer
})

/** Follows the provider's redirects with its cookies, until it sends the browser back; answers with what it brings. */
async function logInThere(url: URL, hint: string): Promise<Record<string, string>> {
  const cookies = new Map<string, string>()
  let next = new URL(url)
  next.searchParams.set('login_hint', hint)
  for (let hop = 0; hop < 10; hop++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(next, { redirect: 'manual', headers: { Cookie: cookie } })
    for (const one of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(one) ?? []
      cookies.set(name, value)
    }
    const location = answer.headers.get('Location')
    if (!location) throw new Error(`${next.pathname}: ${answer.status} ${await answer.text()}`)
    next = new URL(location, next)
    if (next.pathname.startsWith('/api/v1/')) return Object.fromEntries(next.searchParams)
  }
  throw new Error('it goes round in circles')
}

describe('a certified provider', () => {
  it('is found by discovery, and its people log in', async () => {
    const browser = new Browser(isolateWith({ acme: { ...CLIENT, issuer } }))
    const subjects = new Set<string>()
    for (let i = 0; i < 2; i++) {
      const { url } = await browser.start('acme', { redirect_to: '/welcome' })
      const brought = await logInThere(url, 'ada')
      // It says who it is, and is held to that (RFC 9207).
      expect(brought.iss).toBe(issuer)
      const done = await browser.back('acme', brought, 'text/html')
      expect(done.location?.href).toBe('http://localhost:8787/welcome')
      const { data } = await browser.get('/api/v1/auth/me')
      expect(data).toMatchObject({ email: ada.email, full_name: 'Ada Lovelace' })
      subjects.add((data as unknown as { id: string }).id)
    }
    expect(subjects.size).toBe(1)
  })

  it('vouches for an address or does not', async () => {
    const browser = new Browser(isolateWith({ acme: { ...CLIENT, issuer } }))
    const { url } = await browser.start('acme')
    const done = await browser.back('acme', await logInThere(url, 'eve'))
    expect([done.status, done.error.code]).toEqual([403, 'oauth_email_unverified'])
  })

  it('takes no code twice, and none with another login’s verifier', async () => {
    const browser = new Browser(isolateWith({ acme: { ...CLIENT, issuer } }))
    const brought = await logInThere((await browser.start('acme')).url, 'ada')
    const other = await browser.start('acme')
    const injected = await browser.back('acme', { ...brought, state: other.state })
    expect([injected.status, injected.error.code]).toEqual([401, 'oauth_refused'])
    // It was not theirs to use up.
    expect((await browser.back('acme', brought)).status).toBe(200)
    const third = await browser.start('acme')
    expect((await browser.back('acme', { ...brought, state: third.state })).error.code).toBe('oauth_refused')
  })

  it('knows us by our secret', async () => {
    const browser = new Browser(isolateWith({ acme: { ...CLIENT, client_secret: 'another', issuer } }))
    const brought = await logInThere((await browser.start('acme')).url, 'ada')
    const done = await browser.back('acme', brought)
    expect([done.status, done.error.code]).toEqual([502, 'upstream_failed'])
    expect(JSON.stringify(done.error)).not.toContain('another')
  })
})
