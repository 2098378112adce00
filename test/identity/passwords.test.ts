import { env } from 'cloudflare:workers'
import { scryptSync } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  hashPassword,
  needsRehash,
  passwordRefusal,
  verifyPassword,
} from '../../src/domains/identity/users/password'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld } from '../world'
import { OTHER_PASSWORD, PASSWORD, someone, tenantOf } from './kit'

const password = PASSWORD
// Each of these is a hash or several, on a machine that may be busy.
const patient = { timeout: 30_000 }

/** A hash that costs next to nothing, as one with yesterday's parameters would be. */
function cheapHash(of: string): string {
  const salt = crypto.getRandomValues(new Uint8Array(16))
  const key = scryptSync(of.normalize('NFKC'), salt, 32, { N: 2, r: 1, p: 1 })
  const unpadded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('=', '')
  return `$scrypt$ln=1,r=1,p=1$${unpadded(salt)}$${unpadded(key)}`
}

const hashOf = (id: string) =>
  env.DB.prepare('select password_hash from users where id = ?').bind(id).first<string>('password_hash')

describe('a stored password', patient, () => {
  it('is a PHC string of scrypt with N=2^14, r=8, p=5 and a salt of 16 bytes', async () => {
    const phc = await hashPassword(password)
    expect(phc).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    const [, , , salt = '', key] = phc.split('$')
    const expected = scryptSync(password, Buffer.from(salt, 'base64'), 32, {
      N: 2 ** 14,
      r: 8,
      p: 5,
      maxmem: 64 * 1024 * 1024,
    })
    expect(Buffer.from(key ?? '', 'base64').equals(expected)).toBe(true)
    expect(needsRehash(phc)).toBe(false)
  })

  it('fits that password alone, however it was typed', async () => {
    const phc = cheapHash('Fünf Ängste im Öl ﬁ')
    expect(await verifyPassword('Fünf Ängste im Öl ﬁ', phc)).toBe(true)
    expect(await verifyPassword('Fu\u0308nf A\u0308ngste im O\u0308l fi', phc)).toBe(true)
    for (const wrong of ['', 'fünf ängste im öl ﬁ', 'Fünf Ängste im Öl ﬁ ', 'Funf Angste im Ol fi'])
      expect([wrong, await verifyPassword(wrong, phc)]).toEqual([wrong, false])
  })

  it('that is missing, empty or of another kind fits nothing', async () => {
    for (const stored of [
      null,
      '',
      password,
      '$2b$10$abcdefghijklmnopqrstuv',
      '$scrypt$ln=1,r=1,p=1$$',
      '$scrypt$ln=1,r=1,p=1$xRYF32qPVpbwazEMW0bGKg$x',
      '$scrypt$',
    ])
      expect([stored, await verifyPassword(password, stored)]).toEqual([stored, false])
  })

  it('with older parameters is hashed anew at the next login', async () => {
    const { admin } = await makeWorld()
    const old = cheapHash(password)
    await env.DB.prepare('update users set password_hash = ? where id = ?').bind(old, admin.user.id).run()
    const body = { email: admin.user.email, password, tenant: admin.user.tenant_id }
    expect((await call('POST', '/api/v1/auth/login', { body })).status).toBe(200)
    const renewed = (await hashOf(admin.user.id)) ?? ''
    expect(renewed).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$/)
    expect(await verifyPassword(password, renewed)).toBe(true)
  })
})

describe('a new password', () => {
  const CHOICES: [string, string | null][] = [
    ['', 'at least 10'],
    ['123456789', 'at least 10'],
    ['tenletters', null],
    ['x'.repeat(200), null],
    ['x'.repeat(201), 'at most 200'],
    ['\u{1f511}'.repeat(10), null],
    ['\u{1f511}'.repeat(9), 'at least 10'],
    ['\u{1f511}'.repeat(200), null],
    ['e\u0301'.repeat(5), 'at least 10'],
    ['e\u0301'.repeat(10), null],
    ['\u{fdfa}'.repeat(200), null],
    ['password123', 'commonest'],
    ['\uff50\uff41\uff53\uff53word\u00b9\u00b2\u00b3', 'commonest'],
    ['PassWord123', 'commonest'],
    ['qwertyuiop', 'commonest'],
    ['1234567890', 'commonest'],
    ['correcthorsebatterystaple', 'commonest'],
    [password, null],
  ]
  for (const [choice, refusal] of CHOICES)
    it(`${refusal ? 'is refused' : 'is taken'}: ${choice.slice(0, 30)} (${[...choice].length})`, () => {
      if (refusal === null) expect(passwordRefusal(choice)).toBeNull()
      else expect(passwordRefusal(choice)).toContain(refusal)
    })

  it('that is refused costs no hash and is named, without being echoed', async () => {
    const slug = `p-${crypto.randomUUID().slice(0, 8)}`
    for (const [path, more] of [
      ['/api/v1/auth/register', {}],
      ['/api/v1/tenants/onboarding/public', { name: 'Acme', slug }],
    ] as const) {
      const answer = await call('POST', path, {
        body: { email: `${slug}@example.com`, password: 'Password123', ...more },
      })
      expect(await answer.clone().text()).not.toContain('Password123')
      const error = await expectError(answer, 'validation_failed')
      expect(Object.keys(error.details.fields ?? {})).toEqual(['password'])
    }
  })
})

describe('the cost of a login', patient, () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** How many turns at hashing a request takes: each gives up its turn for a millisecond once, when nobody waits. */
  async function turns(send: () => Promise<Response>): Promise<number> {
    const waits = vi.spyOn(scheduler, 'wait')
    await send()
    const count = waits.mock.calls.filter(([ms]) => ms === 1).length
    waits.mockRestore()
    return count
  }

  it('is the same whether the address exists, the password fits, or neither', async () => {
    const email = someone()
    const { tenant, member } = await tenantOf(email, { hash: 'full' })
    const wrong = { password: OTHER_PASSWORD }
    const login = (body: object) => () => call('POST', '/api/v1/auth/login', { body })
    const unnamed = [
      await turns(login({ email, ...wrong })),
      await turns(login({ email: someone(), ...wrong })),
    ]
    expect(unnamed).toEqual([3, 3])
    const named = [
      await turns(login({ email, password, tenant: tenant.id })),
      await turns(login({ email, ...wrong, tenant: tenant.id })),
      await turns(login({ email: someone(), ...wrong, tenant: tenant.id })),
      await turns(login({ email, ...wrong, tenant: 'no-such-tenant' })),
      // A user without a password.
      await turns(login({ email: member.user.email, ...wrong, tenant: tenant.id })),
    ]
    expect(named).toEqual([1, 1, 1, 1, 1])
  })

  it('is bounded: one at a time, ten waiting, and the next is told to come again', async () => {
    const cheap = cheapHash(password)
    const settled = await Promise.allSettled(
      Array.from({ length: 14 }, () => verifyPassword(password, cheap)),
    )
    expect(settled.slice(0, 11).map((one) => one.status)).toEqual(Array(11).fill('fulfilled'))
    for (const one of settled.slice(11))
      expect(one).toMatchObject({ status: 'rejected', reason: { code: 'login_busy', status: 503 } })
    expect(await verifyPassword(password, cheap)).toBe(true)
  })

  it('leaves other requests their turn between two hashes', async () => {
    const body = () => ({ email: someone(), password, tenant: 'no-such-tenant' })
    let open = 20
    const logins = Array.from({ length: open }, async () => {
      const answer = await call('POST', '/api/v1/auth/login', { body: body() })
      open -= 1
      return answer
    })
    await scheduler.wait(20)
    expect((await call('GET', '/health')).status).toBe(200)
    // Behind some hashes, but not behind all of them.
    expect(open).toBeGreaterThan(3)
    const answers = await Promise.all(logins)
    const busy = answers.filter(({ status }) => status === 503)
    expect(busy.length).toBeGreaterThan(0)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(20 - busy.length)
    for (const answer of busy) {
      expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(0)
      await expectError(answer, 'login_busy')
    }
    // And the door is open again.
    expect((await callJson('POST', '/api/v1/auth/login', { body: body() })).error.code).toBe(
      'invalid_credentials',
    )
  })
})
