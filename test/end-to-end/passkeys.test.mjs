// Passkeys as people have them: a browser, its own WebAuthn code, and a device that is made of software.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { test } from 'node:test'
import { chromium } from 'playwright-core'
import { browserAt, call, must, noBrowser, ROOT, signUp, startReceiver, startService } from './harness.mjs'
import { codeBlocks } from './shell.mjs'

const PASSKEYS = '/api/v1/auth/passkeys'
/** The library that front ends use; the page has it as `SimpleWebAuthnBrowser`. */
const LIBRARY = readFileSync(
  path.join(
    path.dirname(createRequire(path.join(ROOT, 'package.json')).resolve('@simplewebauthn/browser')),
    '../dist/bundle/index.umd.min.js',
  ),
  'utf8',
)

/** A page of a browser that is closed when the test `t` has ended, with one device in it. */
async function browserWithDevice(t, device = {}) {
  const browser = await chromium.launch({ executablePath: browserAt, args: ['--no-sandbox'] })
  t.after(() => browser.close())
  const context = await browser.newContext({ bypassCSP: true })
  await context.addInitScript(LIBRARY)
  const page = await context.newPage()
  const cdp = await context.newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
      ...device,
    },
  })
  return { page, cdp, authenticatorId }
}

/** Asks the service for options, has the page answer them, and answers what the service says to that. */
async function ceremony(service, page, kind, { as, tamper = (response) => response } = {}) {
  const options = await must(service, 'POST', `${PASSKEYS}/${kind}/options`, { as })
  const response = await page.evaluate(
    ([kind, optionsJSON]) => {
      const { startRegistration, startAuthentication } = globalThis.SimpleWebAuthnBrowser
      return kind === 'register' ? startRegistration({ optionsJSON }) : startAuthentication({ optionsJSON })
    },
    [kind, options],
  )
  return call(service, 'POST', `${PASSKEYS}/${kind}/verify`, { as, body: { response: tamper(response) } })
}

test('a passkey is made in the browser, and logs in by itself', { skip: noBrowser }, async (t) => {
  const service = await startService(t)
  const someone = await signUp(service)
  const { page, cdp, authenticatorId } = await browserWithDevice(t)
  await page.goto(`${service.url}/health`)

  const made = await ceremony(service, page, 'register', { as: someone.token })
  assert.equal(made.status, 201, JSON.stringify(made.json))
  assert.equal(made.data.device_type, 'single_device')
  assert.deepEqual(made.data.transports, ['internal'])

  // The browser was told which passkeys there are, and makes no second one on the same device.
  await assert.rejects(
    ceremony(service, page, 'register', { as: someone.token }),
    /already registered|InvalidState/,
  )

  const done = await ceremony(service, page, 'login')
  assert.equal(done.status, 200, JSON.stringify(done.json))
  const me = await must(service, 'GET', '/api/v1/auth/me', { as: done.data.access_token })
  assert.equal(me.id, someone.user.id)

  await t.test('and by what docs/identity.md shows, with cookies that no script sees', async () => {
    const [shown] = codeBlocks(readFileSync(path.join(ROOT, 'docs/identity.md'), 'utf8'), 'js')
    const run = (line) => page.evaluate(`(async () => { ${shown}; ${line} })()`)
    const other = await signUp(service)
    const added = await run(`return addPasskey('Phone', ${JSON.stringify(other.token)})`)
    assert.equal(added.name, 'Phone')
    assert.deepEqual(await must(service, 'GET', PASSKEYS, { as: other.token }), [added])
    await forget(cdp, authenticatorId, other.user.email)
    const seen = await run(`
      const data = await loginByPasskey()
      const me = await (await fetch('/api/v1/auth/me')).json()
      return { data, me: me.data.id, seen: document.cookie }`)
    const data = { message: 'Login successful', expires_in: 900 }
    assert.deepEqual(seen, { data, me: someone.user.id, seen: '' })
  })

  await t.test('an answer that was signed for another origin is refused', async (t) => {
    // Of the same host, so that the browser lets it ask for this service's passkeys.
    const evil = await startReceiver(t, (_request, response) => {
      response.setHeader('Content-Type', 'text/html')
      response.end('<title>Not the service</title>')
    })
    await page.goto(`http://localhost:${evil.port}/`)
    const refused = await ceremony(service, page, 'login')
    assert.deepEqual([refused.status, refused.error.code], [401, 'invalid_passkey'])
    const registered = await must(service, 'GET', PASSKEYS, { as: someone.token })
    const other = await signUp(service)
    const registration = await ceremony(service, page, 'register', { as: other.token })
    assert.deepEqual([registration.status, registration.error.code], [422, 'validation_failed'])
    assert.deepEqual(await must(service, 'GET', PASSKEYS, { as: other.token }), [])
    assert.deepEqual(await must(service, 'GET', PASSKEYS, { as: someone.token }), registered)
    await page.goto(`${service.url}/health`)
    // The device has kept what the service refused, and would offer it first.
    await forget(cdp, authenticatorId, other.user.email)
    assert.equal((await ceremony(service, page, 'login')).status, 200)
  })

  await t.test('an answer is good once', async () => {
    let kept
    const tamper = (response) => {
      kept = response
      return response
    }
    assert.equal((await ceremony(service, page, 'login', { tamper })).status, 200)
    const again = await call(service, 'POST', `${PASSKEYS}/login/verify`, { body: { response: kept } })
    assert.deepEqual([again.status, again.error.code], [401, 'invalid_passkey'])
  })

  await t.test('an answer that was changed on its way is refused', async () => {
    const changes = [
      (response) => ({ ...response.response, signature: flipped(response.response.signature) }),
      (response) => ({
        ...response.response,
        authenticatorData: flipped(response.response.authenticatorData),
      }),
      (response) => ({ ...response.response, userHandle: flipped(response.response.userHandle) }),
    ]
    for (const change of changes) {
      const tamper = (response) => ({ ...response, response: change(response) })
      const refused = await ceremony(service, page, 'login', { tamper })
      assert.deepEqual([refused.status, refused.error.code], [401, 'invalid_passkey'])
    }
    assert.equal((await ceremony(service, page, 'login')).status, 200)
  })

  await t.test('a copy of the device is found out by its counter', async () => {
    const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId })
    const [original] = credentials
    assert.equal(credentials.length, 1)
    assert.ok(original.signCount > 1)
    const { credentialId } = original
    const put = async (signCount) => {
      await cdp.send('WebAuthn.removeCredential', { authenticatorId, credentialId })
      await cdp.send('WebAuthn.addCredential', { authenticatorId, credential: { ...original, signCount } })
    }
    await put(0)
    const refused = await ceremony(service, page, 'login')
    assert.deepEqual([refused.status, refused.error.code], [401, 'invalid_passkey'])
    await put(original.signCount + 10)
    assert.equal((await ceremony(service, page, 'login')).status, 200)
  })

  await t.test('who can’t unlock the device does not get in', async () => {
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false })
    await assert.rejects(ceremony(service, page, 'login'), /NotAllowed|not allowed/)
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true })
  })

  await t.test('once it is removed it logs nobody in', async () => {
    await must(service, 'DELETE', `${PASSKEYS}/${made.data.id}`, { as: someone.token })
    const refused = await ceremony(service, page, 'login')
    assert.deepEqual([refused.status, refused.error.code], [401, 'invalid_passkey'])
  })
})

/** Takes a user's passkeys off the device, which offers the newest it has. */
async function forget(cdp, authenticatorId, userName) {
  const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId })
  const theirs = credentials.filter((credential) => credential.userName === userName)
  assert.equal(theirs.length, 1)
  for (const { credentialId } of theirs)
    await cdp.send('WebAuthn.removeCredential', { authenticatorId, credentialId })
}

/** A base64url text with one bit of its last byte changed. */
function flipped(value) {
  const bytes = Buffer.from(value, 'base64url')
  bytes[bytes.length - 1] ^= 1
  return bytes.toString('base64url')
}
