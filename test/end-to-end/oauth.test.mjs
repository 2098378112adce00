// A login at another provider as people have it: a browser between two sites, with its own mind about cookies.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import Provider from 'oidc-provider'
import { chromium } from 'playwright-core'
import { browserAt, freePort, noBrowser, startService } from './harness.mjs'

const CLIENT = { client_id: 'causeway', client_secret: 'a-secret-of-some-length-0123456789' }
const PERSON = { email: 'ada@acme.example', email_verified: true, name: 'Ada Lovelace' }

/** A certified provider with pages to log in and to agree; on another site than the service, for a browser. */
async function startProvider(t, port, redirectUri) {
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ ...CLIENT, redirect_uris: [redirectUri], grant_types: ['authorization_code'] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, ...PERSON }) }),
  })
  const server = http.createServer(provider.callback())
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
}

/** Fills in the provider's pages. */
async function logInThere(page) {
  await page.fill('input[name=login]', 'ada')
  await page.fill('input[name=password]', 'whatever')
  await page.click('button[type=submit]')
  await page.waitForSelector('text=Authorize')
  await page.click('button[type=submit]')
}

test('a browser logs in at another site and comes back', { skip: noBrowser, timeout: 600_000 }, async (t) => {
  const port = await freePort()
  const providers = { acme: { ...CLIENT, issuer: `http://127.0.0.1:${port}` } }
  const service = await startService(t, { vars: { OAUTH_PROVIDERS: JSON.stringify(providers) } })
  await startProvider(t, port, `${service.url}/api/v1/auth/oauth/acme/callback`)
  const browser = await chromium.launch({ executablePath: browserAt, args: ['--no-sandbox'] })
  t.after(() => browser.close())
  const authorize = `${service.url}/api/v1/auth/oauth/acme/authorize`

  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(`${authorize}?redirect_to=/health`)
  assert.equal(new URL(page.url()).host, `127.0.0.1:${port}`)
  await logInThere(page)
  await page.waitForURL(`${service.url}/health`)

  // The cookies that it came back with count, for reading and for writing, and no script sees them.
  const seen = await page.evaluate(async () => {
    const me = await fetch('/api/v1/auth/me')
    const change = await fetch('/api/v1/auth/me', {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ full_name: 'Ada, Countess of Lovelace' }),
    })
    const accounts = await fetch('/api/v1/auth/oauth/accounts')
    return {
      me: (await me.json()).data,
      changed: change.status,
      accounts: (await accounts.json()).data,
      cookies: globalThis.document.cookie,
    }
  })
  assert.equal(seen.me.email, PERSON.email)
  assert.equal(seen.me.full_name, PERSON.name)
  assert.equal(seen.changed, 200)
  assert.deepEqual([seen.accounts.length, seen.accounts[0].provider, seen.cookies], [1, 'acme', ''])
  const kept = (await context.cookies())
    .filter(({ domain }) => domain === 'localhost')
    .map(({ name }) => name)
  assert.deepEqual(kept.sort(), ['access_token', 'refresh_token'])

  await t.test('a link to the end of somebody else’s login leads to an error', async () => {
    const attackers = await browser.newContext()
    const attacker = await attackers.newPage()
    await attacker.goto(authorize)
    // The attacker keeps the end of the login for the victim.
    const cookies = (await attackers.cookies()).filter(({ domain }) => domain === 'localhost')
    assert.deepEqual(
      cookies.map(({ sameSite, httpOnly, secure }) => [sameSite, httpOnly, secure]),
      [['Lax', true, true]],
    )
    await attackers.clearCookies({ domain: 'localhost' })
    let end
    attacker.on('request', (request) => {
      if (request.url().includes('/callback?')) end = request.url()
    })
    await logInThere(attacker)
    await attacker.waitForURL(/[?&]error=oauth_state_invalid/)
    assert.match(end, /[?&]code=/)

    const victims = await browser.newContext()
    const victim = await victims.newPage()
    await victim.goto(`http://127.0.0.1:${port}/.well-known/openid-configuration`)
    await victim.evaluate((url) => globalThis.location.assign(url), end)
    await victim.waitForURL(/[?&]error=oauth_state_invalid/)
    assert.equal(new URL(victim.url()).origin, service.url)
    assert.deepEqual(
      (await victims.cookies()).filter(({ domain }) => domain === 'localhost'),
      [],
    )

    // And is still good where it began.
    await attackers.addCookies(cookies)
    await attacker.goto(end)
    assert.equal(new URL(attacker.url()).searchParams.get('error'), null)
    assert.ok((await attackers.cookies()).some(({ name }) => name === 'access_token'))
  })

  await t.test('and who says no comes back with that', async () => {
    const no = await (await browser.newContext()).newPage()
    await no.goto(`${authorize}?redirect_to=${encodeURIComponent('/health?from=login')}`)
    await no.click('text=/Cancel/')
    await no.waitForURL(/error=oauth_denied/)
    assert.equal(new URL(no.url()).searchParams.get('from'), 'login')
  })
})
