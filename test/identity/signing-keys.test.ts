import { env } from 'cloudflare:workers'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { signAccessToken } from '../../src/domains/identity/tokens/access-token'
import { tendKeys } from '../../src/domains/identity/tokens/chores'
import { keyRing } from '../../src/domains/identity/tokens/keys'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import { type Bindings, settingsOf } from '../../src/env'
import { expectError } from '../http/expect-error'
import {
  call,
  callJson,
  makePlatformAdmin,
  makeWorld,
  type Person,
  requestContext,
  type World,
} from '../world'
import { Isolate } from './isolates'
import { lookAgain, settleKeys } from './keys-kit'

type Row = { kid: string; created_at: string; signs_from: string; published_until: string | null }

const MINUTE = 60_000
const DAY = 24 * 3600_000

let world: World
let platform: Person
/** The keys that were there; each test begins with one, the newest, alone. */
let found: Record<string, unknown>[]
let before: Row[]

beforeEach(async () => {
  await settleKeys()
  found = (await env.DB.prepare('select * from signing_keys').all()).results
  await env.DB.prepare('delete from signing_keys where published_until is not null').run()
  await lookAgain()
  before = await rows()
  expect(before).toHaveLength(1)
  world = await makeWorld()
  platform = await makePlatformAdmin()
})
afterEach(async () => {
  vi.useRealTimers()
  // The keys are everybody's: what others signed with goes on to count.
  await env.DB.batch([
    env.DB.prepare('delete from signing_keys'),
    ...found.map((row) =>
      env.DB.prepare(
        `insert into signing_keys (${Object.keys(row).join(', ')}) values (${Object.keys(row).map(() => '?')})`,
      ).bind(...Object.values(row)),
    ),
  ])
  await lookAgain()
})

const rows = async () =>
  (await env.DB.prepare('select * from signing_keys order by signs_from desc').all<Row>()).results
const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)
const at = (isolate: Bindings) => requestContext({ env: isolate, settings: settingsOf(isolate) })
const ringOf = (isolate: Isolate) => keyRing(at(isolate.bindings))
const sign = ({ bindings }: Isolate) =>
  signAccessToken(at(bindings), world.member.user, world.member.session_id, scopesOf('member'))
const kidOf = (token: string) => JSON.parse(atob(token.split('.')[0] ?? '')).kid as string
const publishedBy = async (isolate: Isolate) =>
  (await (await isolate.ask('GET', '/.well-known/jwks.json', {})).json()) as JSONWebKeySet
const rotate = () => callJson<Row>('POST', '/api/platform/keys/rotate', { token: platform.token })

describe('a rotation on demand', () => {
  it('is for platform administrators, once at a time, and on record', async () => {
    await expectError(
      call('POST', '/api/platform/keys/rotate', { token: world.admin.token }),
      'platform_only',
    )
    await expectError(call('POST', '/api/platform/keys/rotate', { key: world.apiKey }), 'platform_only')
    expect(await rows()).toHaveLength(before.length)
    const answers = await Promise.all([rotate(), rotate(), rotate()])
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409])
    const made = answers.find(({ status }) => status === 201)
    expect(made?.headers.get('Location')).toBe('/.well-known/jwks.json')
    expect(Object.keys(made?.data ?? {}).sort()).toEqual(['created_at', 'kid', 'signs_from'])
    expect(await rows()).toHaveLength(before.length + 1)
    expect((await rotate()).error.code).toBe('conflict')
    const audit = await env.DB.prepare(
      "select * from audit_log where action = 'signing_key.rotate' and resource_id = ?",
    )
      .bind(made?.data.kid)
      .all<{ actor_id: string }>()
    expect(audit.results.map(({ actor_id }) => actor_id)).toEqual([platform.user.id])
  })

  it('publishes the new key one cache lifetime before it signs, and the old one until its last token has ended', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const here = new Isolate()
    const old = (await ringOf(here)).signing.kid
    const { kid, signs_from, created_at } = (await rotate()).data
    // A cache may hold for its five minutes what an isolate read a minute before.
    expect(Date.parse(signs_from) - Date.parse(created_at)).toBe(6 * MINUTE)
    pass(MINUTE + 1)
    expect((await publishedBy(here)).keys.map((key) => key.kid)).toEqual(expect.arrayContaining([kid, old]))
    expect(kidOf(await sign(here))).toBe(old)
    pass(5 * MINUTE)
    expect(kidOf(await sign(here))).toBe(kid)
    const until = Date.parse((await rows()).find((row) => row.kid === old)?.published_until ?? '')
    // Signed by an isolate that learned of it a minute late, 15 minutes of life, 30 seconds of leeway.
    expect(until - Date.parse(signs_from)).toBe(MINUTE + 15 * MINUTE + 30_000)
    vi.setSystemTime(until + MINUTE + 1)
    expect((await publishedBy(here)).keys.map((key) => key.kid)).toEqual([kid])
    await tendKeys(here.bindings, Date.now())
    expect((await rows()).map((row) => row.kid)).toEqual([kid])
  })

  it('refuses no request, of any isolate or of who verifies by the published keys, while all of them sign and ask', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const isolates = [new Isolate(), new Isolate(), new Isolate()]
    const idle = new Isolate()
    await idle.knock({ token: world.member.token })
    const [first] = isolates as [Isolate, ...Isolate[]]
    // Somebody else who keeps what /.well-known/jwks.json answered for as long as it allows.
    const cache = { keys: await publishedBy(first), since: Date.now() }
    const live: { token: string; born: number }[] = []
    const signers = new Set<string>()
    const refused: string[] = []
    const STEP = 15_000
    for (let time = 0; time <= 40 * MINUTE; time += STEP, pass(STEP)) {
      if (time === 2 * MINUTE) expect((await rotate()).status).toBe(201)
      if (Date.now() - cache.since >= 300_000)
        Object.assign(cache, {
          keys: await publishedBy(isolates[(time / STEP) % 3] as Isolate),
          since: Date.now(),
        })
      const fresh = await Promise.all(isolates.map(sign))
      for (const token of fresh) signers.add(kidOf(token))
      live.push(...fresh.map((token) => ({ token, born: Date.now() })))
      while ((live[0]?.born ?? 0) < Date.now() - 15 * MINUTE) live.shift()
      const oldest = live[0]?.token ?? ''
      for (const token of [...fresh, oldest]) {
        const answers = await Promise.all(isolates.map((isolate) => isolate.knock({ token })))
        for (const answer of answers)
          if (answer.status !== 200) refused.push(`${time}: ${await answer.text()}`)
        await jwtVerify(token, createLocalJWKSet(cache.keys), {
          currentDate: new Date(),
          clockTolerance: 30,
        }).catch((error: unknown) => refused.push(`${time}: elsewhere: ${String(error)}`))
      }
      // One that looked last before all of this sees a token of the new key.
      if (time === 9 * MINUTE) expect((await idle.knock({ token: fresh[0] ?? '' })).status).toBe(200)
    }
    expect(refused).toEqual([])
    expect(signers.size).toBe(2)
  }, 60_000)
})

describe('a rotation by itself', () => {
  it('makes the next key when the newest is thirty days old, or as many as are set', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const newest = Date.parse((await rows())[0]?.created_at ?? '')
    vi.setSystemTime(newest + 30 * DAY - MINUTE)
    await tendKeys(new Isolate().bindings, Date.now())
    expect(await rows()).toHaveLength(before.length)
    const { tenant_id } = platform.user
    // As it is called where it is the only one; other tests made some of their own.
    const rename = (slug: string) =>
      env.DB.prepare('update tenants set slug = ? where id = ?').bind(slug, tenant_id).run()
    await rename('platform')
    vi.setSystemTime(newest + 30 * DAY + MINUTE)
    // Several crons and isolates at once make one.
    const isolates = [new Isolate(), new Isolate(), new Isolate()]
    await Promise.all(isolates.map(({ bindings }) => tendKeys(bindings, Date.now())))
    const made = (await rows())[0]
    expect((await rows()).filter((row) => row.published_until === null).map((row) => row.kid)).toEqual([
      made?.kid,
    ])
    expect(Date.parse(made?.signs_from ?? '')).toBe(Date.now() + 6 * MINUTE)
    const recorded = await env.DB.prepare(
      "select tenant_id, actor_kind, actor_id, resource_id from audit_log where action = 'signing_key.rotate' and resource_id = ?",
    )
      .bind(made?.kid)
      .all()
    expect(recorded.results).toEqual([
      { tenant_id, actor_kind: 'system', actor_id: 'key-rotation', resource_id: made?.kid },
    ])
    await rename(`platform-${tenant_id}`)
    const weekly = new Isolate({ SIGNING_KEY_DAYS: '7' } as never)
    pass(7 * DAY + MINUTE)
    await tendKeys(weekly.bindings, Date.now())
    expect((await rows())[0]?.kid).not.toBe(made?.kid)
  })

  it('needs no cron: an isolate that reads the keys makes the next', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    pass(31 * DAY)
    const here = new Isolate()
    const keys = await publishedBy(here)
    const waiting = (await rows())[0]
    expect(keys.keys.map((key) => key.kid)).toContain(waiting?.kid)
    expect((await ringOf(here)).signing.kid).not.toBe(waiting?.kid)
  })

  it('takes days from 1 to 999', async () => {
    for (const days of ['0', '-1', '1.5', 'x', '1000'])
      expect(() => settingsOf(new Isolate({ SIGNING_KEY_DAYS: days } as never).bindings)).toThrow(
        /misconfigured/,
      )
    expect(settingsOf(new Isolate({ SIGNING_KEY_DAYS: '' } as never).bindings).SIGNING_KEY_DAYS).toBe(30)
  })
})

describe('keys that are over', () => {
  it('verify nothing, and a new one is made where no other is left', async () => {
    await env.DB.prepare("update signing_keys set published_until = '2020-01-01T00:00:00.000Z'").run()
    const isolates = [new Isolate(), new Isolate()]
    const tokens = await Promise.all(isolates.map(sign))
    expect(new Set(tokens.map(kidOf)).size).toBe(1)
    for (const isolate of isolates)
      for (const token of tokens) expect((await isolate.knock({ token })).status).toBe(200)
    await expectError(new Isolate().knock({ token: world.member.token }), 'invalid_token')
  })

  it('of an unknown id cost an isolate one look in five seconds, however many tokens name one', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const here = new Isolate()
    expect((await here.knock({ token: world.member.token })).status).toBe(200)
    pass(6000)
    here.calls.length = 0
    const [, payload, signature] = world.member.token.split('.')
    const forged = (i: number) =>
      `${btoa(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: `kid-${i}` })).replaceAll('=', '')}.${payload}.${signature}`
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => here.knock({ token: forged(i) })))
    expect(answers.filter(({ status }) => status === 401 || status === 429)).toHaveLength(60)
    expect(here.calls.filter((name) => name === 'DB.prepare')).toHaveLength(1)
  })

  it('are not looked for while a known one is old: that isolate asks nothing to verify', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const here = new Isolate()
    expect((await here.knock({ token: world.member.token })).status).toBe(200)
    const again = await sign(here)
    pass(10 * MINUTE)
    here.calls.length = 0
    expect((await here.knock({ token: again })).status).toBe(200)
    // The session of a token that is new to it, and nothing else.
    expect(here.calls.filter((name) => name === 'DB.prepare')).toHaveLength(1)
  })
})
