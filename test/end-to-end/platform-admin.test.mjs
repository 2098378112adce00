// The documented command that makes a platform administrator, beside a running service.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { call, must, ROOT, signUp, startService, waitFor } from './harness.mjs'

const EMAIL = 'Root@Operators.example'

test('npm run platform-admin', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  // Somebody was quicker with the name.
  const tenant = await signUp(service, 'platform')

  // Not spawnSync: connections that the service closes meanwhile must be seen to be closed.
  const command = (args, env = {}) =>
    new Promise((resolve) => {
      const all = ['run', '--silent', 'platform-admin', '--', ...args]
      const options = { cwd: ROOT, env: { ...process.env, STATE_DIR: service.stateDir, ...env } }
      execFile('npm', all, options, (error, stdout, stderr) =>
        resolve({ status: error ? error.code : 0, stdout, stderr }),
      )
    })
  const login = (password) =>
    call(service, 'POST', '/api/v1/auth/login', { body: { email: EMAIL, password } })
  let first

  await t.test(
    'makes one who can administer the platform, with the password of the environment',
    async () => {
      const done = await command(['--email', EMAIL], { PLATFORM_ADMIN_PASSWORD: 'a password of my own' })
      assert.equal(done.status, 0, done.stderr)
      assert.ok(!done.stdout.includes('a password of my own'))
      first = (await login('a password of my own')).data.access_token
      assert.equal((await must(service, 'GET', '/api/v1/auth/me', { as: first })).role, 'platform_admin')
      const tenants = await must(service, 'GET', '/api/platform/tenants', { as: first })
      assert.ok(tenants.some(({ id }) => id === tenant.tenant.id))
    },
  )

  await t.test('gives the same person a new password, and ends what was open', async () => {
    const done = await command(['--email', EMAIL.toLowerCase()], { PLATFORM_ADMIN_PASSWORD: '' })
    const password = /shown only now\): (\S+)/.exec(done.stdout)?.[1]
    assert.ok(password?.length >= 20, done.stdout + done.stderr)
    assert.equal((await login('a password of my own')).status, 401)
    const again = await login(password)
    const me = await must(service, 'GET', '/api/v1/auth/me', { as: again.data.access_token })
    assert.equal(me.email, EMAIL.toLowerCase())
    const ended = async () => (await call(service, 'GET', '/api/v1/auth/me', { as: first })).status === 401
    await waitFor(ended, 15_000, 'the first session to end')
  })

  await t.test('leaves tenants as they are', async () => {
    assert.equal((await must(service, 'GET', '/api/v1/auth/me', { as: tenant.token })).role, 'admin')
    assert.equal((await call(service, 'GET', '/api/platform/tenants', { as: tenant.token })).status, 403)
  })

  await t.test('says what is missing', async () => {
    assert.match((await command([])).stderr, /--email you@example.com/)
    assert.match((await command(['--email', "x'--@y.z"])).stderr, /is not an email address/)
    const short = await command(['--email', EMAIL], { PLATFORM_ADMIN_PASSWORD: 'short' })
    assert.equal(short.status, 1)
    assert.match(short.stderr, /at least 10 characters/)
  })
})
