import { env } from 'cloudflare:workers'
import bcrypt from 'bcryptjs'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { bcryptCost, verifyBcrypt } from '../../src/domains/identity/users/bcrypt'
import { hashesMade, inLine } from '../../src/domains/identity/users/hashing-line'
import { importedCost } from '../../src/domains/identity/users/imported'
import { needsRehash, verifyEach, verifyPassword } from '../../src/domains/identity/users/password'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { call } from '../world'
import { PASSWORD as RIGHT, someone, tenantOf, OTHER_PASSWORD as WRONG } from './kit'

const patient = { timeout: 120_000 }
const bindings = env as unknown as Bindings

const setHash = (id: string, hash: string | null) =>
  env.DB.prepare('update users set password_hash = ? where id = ?').bind(hash, id).run()
const hashOf = (id: string) =>
  env.DB.prepare('select password_hash from users where id = ?').bind(id).first<string>('password_hash')
/** As long as one is left in D1, every login of every test costs more. */
const forgetImported = () =>
  env.DB.prepare("update users set password_hash = null where password_hash like '$2%'").run()

const login = (email: string, tenant: string | undefined, password = RIGHT) =>
  call('POST', '/api/v1/auth/login', { body: { email, password, ...(tenant ? { tenant } : {}) } })

/** How many hashes a request took. */
async function work(send: () => Promise<unknown>): Promise<number> {
  const before = hashesMade()
  await send()
  return hashesMade() - before
}

beforeEach(forgetImported)
afterAll(forgetImported)

describe('a password hashed by bcrypt elsewhere', patient, () => {
  // By crypt(3) of libxcrypt, and from the tests of Openwall's crypt_blowfish; one is longer than bcrypt reads.
  const FOREIGN: [string, string][] = [
    ['Fünf Ängste £', '$2y$05$/OK.fbVrR/bpIqNJ5ianF.fRDAH9TMNjHZlm9vJUej8qHA26YHqxi'],
    [RIGHT, '$2b$06$abcdefghijklmnopqrstuu43a7o4u5ThdzJoBmTyrMwp0WiQBpANC'],
    ['U*U*U', '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'],
    [
      '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored',
      '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui',
    ],
  ]
  for (const [password, hash] of FOREIGN)
    it(`fits ${JSON.stringify(password.slice(0, 12))} and nothing else (${hash.slice(0, 6)})`, async () => {
      expect(verifyBcrypt(password, hash, 6)).toBe(true)
      for (const other of ['', password.slice(1), ` ${password}`, password.toLowerCase()])
        expect([other, verifyBcrypt(other, hash, 6)]).toEqual([other, other === password])
    })

  it('logs in, and is scrypt afterwards, of the whole password', async () => {
    const email = someone()
    const { tenant, admin } = await tenantOf(email)
    // bcrypt reads 72 bytes; what follows them counts from then on.
    const long = `${RIGHT} `.repeat(4)
    await setHash(admin.user.id, bcrypt.hashSync(long, 4))
    await expectError(login(email, tenant.id, WRONG), 'invalid_credentials')
    expect((await hashOf(admin.user.id))?.startsWith('$2')).toBe(true)
    expect((await login(email, tenant.id, long)).status).toBe(200)
    const renewed = (await hashOf(admin.user.id)) ?? ''
    expect(renewed).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$/)
    expect(needsRehash(renewed)).toBe(false)
    expect(await verifyPassword(long, renewed)).toBe(true)
    expect(await verifyPassword(long.slice(0, 72), renewed)).toBe(false)
    expect(await importedCost(bindings)).toBeNull()
  })

  it('that is malformed, or too dear for an isolate, fits nothing', async () => {
    const good = bcrypt.hashSync(RIGHT, 4)
    expect(bcryptCost(good)).toBe(4)
    for (const hash of [
      good.replace('$04$', '$14$'),
      good.replace('$04$', '$31$'),
      good.replace('$04$', '$03$'),
      good.replace('$2', '$1'),
      good.replace(/^\$2./, '$2x'),
      good.slice(0, -1),
      `${good}A`,
      '$2b$04$',
      null,
    ]) {
      expect([hash, bcryptCost(hash)]).toEqual([hash, null])
      expect([hash, verifyBcrypt(RIGHT, hash, 4)]).toEqual([hash, false])
    }
  })

  it('is found by the dearest that is left, by index', async () => {
    expect(await importedCost(bindings)).toBeNull()
    const { admin, member, viewer } = await tenantOf(someone())
    await setHash(admin.user.id, bcrypt.hashSync(RIGHT, 6).replace('$2b', '$2a'))
    await setHash(member.user.id, bcrypt.hashSync(RIGHT, 4))
    await setHash(viewer.user.id, bcrypt.hashSync(RIGHT, 4).replace('$04$', '$15$'))
    expect(await importedCost(bindings)).toBe(6)
    const { results } = await env.DB.prepare(
      `explain query plan select password_hash from users where substr(password_hash, 1, 2) = '$2'
       and password_hash > ? and password_hash < ? order by password_hash desc limit 1`,
    )
      .bind('$2b$', '$2b$14')
      .all<{ detail: string }>()
    expect(results.map(({ detail }) => detail).join()).toMatch(
      /SEARCH users USING (?:COVERING )?INDEX users_imported/,
    )
  })

  it('costs the rounds of the dearest, whatever it costs itself', () => {
    const rounds = (hash: string | null) => {
      let sum = 0
      const original = bcrypt.compareSync
      const counting: typeof original = (password, of) => {
        sum += 2 ** Number(of.slice(4, 6))
        return original(password, of)
      }
      return { fits: verifyBcrypt(RIGHT, hash, 8, counting), sum }
    }
    for (const cost of [4, 5, 7, 8])
      expect(rounds(bcrypt.hashSync(RIGHT, cost))).toEqual({ fits: true, sum: 256 })
    expect(rounds(null)).toEqual({ fits: false, sum: 256 })
    expect(rounds('$scrypt$')).toEqual({ fits: false, sum: 256 })
  })
})

describe('the work of a login', patient, () => {
  it('is the same over 200 tries for known and unknown addresses of every kind', async () => {
    // Parameters are what they are everywhere; what differs is what is stored, and whether anything is.
    const KINDS = ['scrypt', 'bcrypt', 'dear bcrypt', 'no password', 'suspended', 'nobody'] as const
    const { tenant, admin } = await tenantOf(someone())
    await setHash(admin.user.id, bcrypt.hashSync(RIGHT, 5))
    const addresses: Record<(typeof KINDS)[number], string[]> = {
      ...{ scrypt: [], bcrypt: [], 'dear bcrypt': [], 'no password': [], suspended: [], nobody: [] },
    }
    const bcryptHash = bcrypt.hashSync(RIGHT, 4)
    for (let i = 0; i < 4; i++) {
      for (const kind of KINDS) {
        const email = someone()
        addresses[kind].push(email)
        if (kind === 'nobody') continue
        const world = await tenantOf(email, { hash: 'full' })
        if (kind === 'bcrypt') await setHash(world.admin.user.id, bcryptHash)
        if (kind === 'dear bcrypt') await setHash(world.admin.user.id, bcrypt.hashSync(RIGHT, 5))
        if (kind === 'no password') await setHash(world.admin.user.id, null)
        if (kind === 'suspended')
          await env.DB.prepare("update users set status = 'suspended' where id = ?")
            .bind(world.admin.user.id)
            .run()
      }
    }
    const byKind = new Map<string, Set<number>>()
    for (let i = 0; i < 200; i++) {
      const kind = KINDS[i % KINDS.length] ?? 'nobody'
      const email = addresses[kind][Math.floor(i / KINDS.length) % 4] ?? ''
      // A tenant is named so that each try is one candidate: one scrypt and, since there are imported ones, one bcrypt.
      const hashes = await work(async () =>
        expectError(login(email, tenant.slug, WRONG), 'invalid_credentials'),
      )
      byKind.set(kind, (byKind.get(kind) ?? new Set()).add(hashes))
    }
    expect(Object.fromEntries([...byKind].map(([kind, counts]) => [kind, [...counts]]))).toEqual(
      Object.fromEntries(KINDS.map((kind) => [kind, [2]])),
    )
  }, 400_000)

  it('is three candidates where no tenant is named, with bcrypt ones among them or not', async () => {
    const email = someone()
    const world = await tenantOf(email)
    const unnamed = (address: string) => work(() => login(address, undefined, WRONG))
    expect([await unnamed(email), await unnamed(someone())]).toEqual([3, 3])
    await setHash(world.admin.user.id, bcrypt.hashSync(RIGHT, 4))
    expect([await unnamed(email), await unnamed(someone())]).toEqual([6, 6])
  })
})

describe('fifty logins at once', patient, () => {
  it('none waits longer than ten hashes, and others are answered meanwhile', async () => {
    let open = 50
    const waits: number[] = []
    const busy: Response[] = []
    const started = hashesMade()
    const logins = Array.from({ length: open }, async (_, i) => {
      // Every third names no tenant: three candidates.
      const own = i % 3 === 0 ? 3 : 1
      const before = hashesMade()
      const answer = await login(someone(), i % 3 === 0 ? undefined : 'no-such-tenant')
      open -= 1
      if (answer.status === 401) waits.push(hashesMade() - before - own)
      else busy.push(answer)
    })
    const health: number[] = []
    while (open > 0) {
      const asked = hashesMade()
      expect((await call('GET', '/health')).status).toBe(200)
      health.push(hashesMade() - asked)
      await scheduler.wait(5)
    }
    await Promise.all(logins)
    expect(waits.length).toBeGreaterThan(3)
    expect(waits.length + busy.length).toBe(50)
    // One more may be made before a login comes into line, and one after its own, before this hears of it.
    expect(Math.max(...waits)).toBeLessThanOrEqual(10 + 2)
    for (const answer of busy) {
      expect(answer.headers.get('Retry-After')).toBe('2')
      await expectError(answer, 'login_busy')
    }
    // Who is refused cost nothing.
    expect(hashesMade() - started).toBeLessThanOrEqual(10 + 3)
    // Another route waits for the hash under way, or one more.
    expect(Math.max(...health)).toBeLessThanOrEqual(2)
  })
})

describe('the line for hashes', () => {
  it('takes a request as a whole or not at all', async () => {
    const order: string[] = []
    const take = (name: string, hashes: number) =>
      inLine(hashes, async (hashing) => {
        for (let i = 0; i < hashes; i++) await hashing(() => order.push(name))
      })
    const settled = await Promise.allSettled([
      take('a', 3),
      take('b', 7),
      take('c', 1),
      take('d', 1),
      take('e', 1),
    ])
    // Ahead of c are ten, ahead of d eleven.
    expect(settled.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
    ])
    expect(order.join('')).toBe('aaabbbbbbbc')
  })

  it('goes on where a hash fails, and past who left', async () => {
    await expect(
      inLine(2, (hashing) =>
        hashing(() => {
          throw new Error('no hash')
        }),
      ),
    ).rejects.toThrow('no hash')
    // A client that left: its request stops where it stands, and its place with it.
    void inLine(10, () => new Promise<void>(() => {}))
    expect(await verifyEach(RIGHT, [null], null)).toEqual([false])
  })
})
