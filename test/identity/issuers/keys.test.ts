import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { FETCH_MS } from '../../../src/domains/identity/issuers/fetch-keys'
import { issuerKey } from '../../../src/domains/identity/issuers/jwks'
import { log } from '../../../src/lib/log'
import { requestContext } from '../../world'
import { Isolate } from '../isolates'
import { TestIssuer } from './kit'

// How an issuer's public keys are had: in the isolate, in KV, from the issuer; at the moments that count.

const SECOND = 1000
const MINUTE = 60 * SECOND

// A request would set what its settings say.
beforeAll(() => log.setLevel('silent'))
afterEach(() => {
  vi.restoreAllMocks()
})

/** One isolate that wants keys of one issuer, at moments counted from its beginning. */
class Seeker {
  readonly start = Date.now()
  readonly waiting: Promise<unknown>[] = []

  constructor(
    readonly issuer = new TestIssuer(),
    readonly isolate = new Isolate(),
    readonly source: { jwks_uri: string } | { discover: string } = { jwks_uri: issuer.jwks_uri },
  ) {}

  /** Whether the key is there, after so many milliseconds. */
  async asks(kid: string, after = 0): Promise<boolean> {
    const alg = { rsa: 'RS256', ed: 'EdDSA' }[kid.split('-')[0] ?? ''] ?? 'ES256'
    const caller = requestContext({
      env: this.isolate.bindings,
      now: this.start + after,
      defer: (work) => void this.waiting.push(work.catch(() => undefined)),
    })
    const of = { name: `test:${this.issuer.iss}`, source: this.source }
    return (await issuerKey(caller, of, { alg, kid })) !== null
  }

  async settled(): Promise<void> {
    await Promise.all(this.waiting.splice(0))
  }

  async fetches(): Promise<number> {
    return (await this.issuer.watched()).jwks
  }
}

const kidOf = async (issuer: TestIssuer) => (await issuer.watched()).kids[1] as string

describe('in the memory of the isolate', () => {
  it('are fetched once, and neither the issuer nor KV is asked again while they are fresh', async () => {
    const seeker = new Seeker()
    const kids = (await seeker.issuer.watched()).kids
    for (const kid of kids) expect(await seeker.asks(kid)).toBe(true)
    await seeker.settled()
    seeker.isolate.calls.length = 0
    for (let i = 0; i < 20; i++) expect(await seeker.asks(kids[i % 3] as string, i * 14 * SECOND)).toBe(true)
    expect(await seeker.fetches()).toBe(1)
    expect(seeker.isolate.calls).toEqual([])
  })

  it('are looked up beside the request once they are older than five minutes', async () => {
    const seeker = new Seeker()
    const kid = await kidOf(seeker.issuer)
    await seeker.asks(kid)
    await seeker.issuer.control({ rotate: 'drop' })
    // The request that finds them old is answered by what there is.
    expect(await seeker.asks(kid, 5 * MINUTE + SECOND)).toBe(true)
    await seeker.settled()
    expect(await seeker.fetches()).toBe(2)
    expect(await seeker.asks(kid, 5 * MINUTE + 2 * SECOND)).toBe(false)
    expect(await seeker.asks(await kidOf(seeker.issuer), 5 * MINUTE + 2 * SECOND)).toBe(true)
  })

  it('are fetched once for many who come at the same time', async () => {
    const seeker = new Seeker()
    const kid = await kidOf(seeker.issuer)
    await seeker.issuer.control({ delay_ms: 300 })
    const answers = await Promise.all(Array.from({ length: 50 }, () => seeker.asks(kid)))
    expect(answers).toEqual(Array(50).fill(true))
    expect(await seeker.fetches()).toBe(1)
  })

  it('do not wait for ever for a request that died while it asked', async () => {
    const never = () => new Promise<never>(() => undefined)
    const seeker = new Seeker(
      new TestIssuer(),
      new Isolate({ KV: { get: never, put: async () => undefined } }),
    )
    const kid = await kidOf(seeker.issuer)
    // The first one's clock stands still with it; the others come on in their time.
    vi.spyOn(scheduler, 'wait').mockImplementationOnce(never)
    void seeker.asks(kid)
    const began = Date.now()
    await expect(seeker.asks(kid)).rejects.toMatchObject({ code: 'service_unavailable' })
    expect(Date.now() - began).toBeLessThan(3 * FETCH_MS)
    // What was given up is done by the next, without the cooldown.
    expect(await seeker.asks(kid, 10 * SECOND)).toBe(true)
    expect(await seeker.fetches()).toBe(1)
  }, 30_000)
})

describe('an unknown kid', () => {
  it('has the keys fetched again at most once in thirty seconds, whatever it is', async () => {
    const seeker = new Seeker()
    await seeker.asks(await kidOf(seeker.issuer))
    for (let i = 0; i < 300; i++) expect(await seeker.asks(`made-up-${i}`, i * 100)).toBe(false)
    expect(await seeker.fetches()).toBe(1)
    for (let i = 0; i < 300; i++) expect(await seeker.asks(`made-up-${i}`, 30 * SECOND + i * 99)).toBe(false)
    expect(await seeker.fetches()).toBe(2)
  })

  it('is remembered for thirty seconds once the issuer was asked for it', async () => {
    const seeker = new Seeker()
    const kid = await kidOf(seeker.issuer)
    await seeker.asks(kid)
    expect(await seeker.asks('later', 31 * SECOND)).toBe(false)
    expect(await seeker.fetches()).toBe(2)
    seeker.isolate.calls.length = 0
    expect(await seeker.asks('later', 60 * SECOND)).toBe(false)
    expect(await seeker.fetches()).toBe(2)
    // Another may be asked for.
    expect(await seeker.asks('another', 62 * SECOND)).toBe(false)
    expect(await seeker.fetches()).toBe(3)
  })

  it('that the issuer has by now is found, with one fetch', async () => {
    const seeker = new Seeker()
    const old = await kidOf(seeker.issuer)
    await seeker.asks(old)
    await seeker.issuer.control({ rotate: 'keep' })
    const fresh = await kidOf(seeker.issuer)
    expect(fresh).not.toBe(old)
    expect(await seeker.asks(fresh, 31 * SECOND)).toBe(true)
    expect(await seeker.asks(old, 31 * SECOND)).toBe(true)
    expect(await seeker.fetches()).toBe(2)
  })

  it('that came within the cooldown is asked for as soon as that is over', async () => {
    const seeker = new Seeker()
    await seeker.asks(await kidOf(seeker.issuer))
    await seeker.issuer.control({ rotate: 'keep' })
    const fresh = await kidOf(seeker.issuer)
    expect(await seeker.asks(fresh, 29 * SECOND)).toBe(false)
    expect(await seeker.asks(fresh, 30 * SECOND)).toBe(true)
  })

  it('is asked for once by many at the same time', async () => {
    const seeker = new Seeker()
    await seeker.asks(await kidOf(seeker.issuer))
    await seeker.issuer.control({ rotate: 'keep', delay_ms: 200 })
    const fresh = await kidOf(seeker.issuer)
    const answers = await Promise.all(Array.from({ length: 50 }, () => seeker.asks(fresh, 31 * SECOND)))
    expect(answers).toEqual(Array(50).fill(true))
    expect(await seeker.fetches()).toBe(2)
  })
})

describe('while the issuer is down', () => {
  for (const down of ['status', 'reset', 'redirect', 'huge', 'nonsense'] as const)
    it(`keys are used for an hour, and no longer: ${down}`, async () => {
      const seeker = new Seeker()
      const kid = await kidOf(seeker.issuer)
      await seeker.asks(kid)
      await seeker.issuer.control({ down })
      for (const minutes of [6, 20, 59]) {
        expect(await seeker.asks(kid, minutes * MINUTE)).toBe(true)
        await seeker.settled()
      }
      await expect(seeker.asks(kid, 61 * MINUTE)).rejects.toMatchObject({
        code: 'service_unavailable',
        headers: { 'Retry-After': '30' },
      })
      await seeker.issuer.control({ down: null })
      expect(await seeker.asks(kid, 62 * MINUTE)).toBe(true)
    })

  it('it is asked at most once in thirty seconds, for known and for unknown keys', async () => {
    const seeker = new Seeker()
    const kid = await kidOf(seeker.issuer)
    await seeker.issuer.control({ down: 'status' })
    for (let second = 0; second < 30; second++)
      await expect(seeker.asks(kid, second * SECOND)).rejects.toMatchObject({ code: 'service_unavailable' })
    expect(await seeker.fetches()).toBe(1)
    for (let i = 0; i < 90; i++)
      await expect(seeker.asks(`made-up-${i}`, (30 + i / 3) * SECOND)).rejects.toMatchObject({ status: 503 })
    expect(await seeker.fetches()).toBe(2)
    await seeker.issuer.control({ down: null })
    expect(await seeker.asks(kid, 60 * SECOND)).toBe(true)
    await seeker.issuer.control({ down: 'reset' })
    for (let i = 0; i < 90; i++) expect(await seeker.asks(`made-up-${i}`, (90 + i / 3) * SECOND)).toBe(false)
    expect(await seeker.asks(kid, 119 * SECOND)).toBe(true)
    expect(await seeker.fetches()).toBe(4)
  })

  it('one that does not answer holds a request for no longer than a fetch may take, and others not at all', async () => {
    const seeker = new Seeker()
    const kid = await kidOf(seeker.issuer)
    await seeker.asks(kid)
    await seeker.issuer.control({ down: 'hang' })
    const began = Date.now()
    const unknown = seeker.asks('made-up', 31 * SECOND)
    await scheduler.wait(50)
    expect(await seeker.asks(kid, 32 * SECOND)).toBe(true)
    expect(Date.now() - began).toBeLessThan(1_000)
    expect(await unknown).toBe(false)
    expect(Date.now() - began).toBeLessThan(FETCH_MS + 1_500)
  }, 15_000)
})

describe('in KV', () => {
  it('another isolate finds what one has fetched', async () => {
    const one = new Seeker()
    const kid = await kidOf(one.issuer)
    await one.asks(kid)
    await one.settled()
    const other = new Seeker(one.issuer)
    expect(await other.asks(kid, SECOND)).toBe(true)
    expect(await one.fetches()).toBe(1)
    expect(other.isolate.calls).toEqual(['KV.get'])
  })

  it('and a key that came since, without a fetch of its own', async () => {
    const one = new Seeker()
    const old = await kidOf(one.issuer)
    const other = new Seeker(one.issuer)
    await one.asks(old)
    await one.settled()
    await other.asks(old)
    await one.issuer.control({ rotate: 'keep' })
    const fresh = await kidOf(one.issuer)
    expect(await one.asks(fresh, 31 * SECOND)).toBe(true)
    await one.settled()
    expect(await other.asks(fresh, 32 * SECOND)).toBe(true)
    expect(await one.fetches()).toBe(2)
  })

  it('a cold isolate has a key looked up that came after them, unless the issuer was asked a moment ago', async () => {
    const one = new Seeker()
    await one.asks(await kidOf(one.issuer))
    await one.settled()
    await one.issuer.control({ rotate: 'keep' })
    const fresh = await kidOf(one.issuer)
    const early = new Seeker(one.issuer)
    expect(await early.asks(fresh, 10 * SECOND)).toBe(false)
    expect(await one.fetches()).toBe(1)
    expect(await new Seeker(one.issuer).asks(fresh, 60 * SECOND)).toBe(true)
    expect(await one.fetches()).toBe(2)
    // Thirty seconds after the issuer was asked, not after its keys were found.
    expect(await early.asks(fresh, 31 * SECOND)).toBe(true)
  })

  it('a cold isolate goes by them while the issuer is down, for an hour', async () => {
    const one = new Seeker()
    const kid = await kidOf(one.issuer)
    await one.asks(kid)
    await one.settled()
    await one.issuer.control({ down: 'status' })
    expect(await new Seeker(one.issuer).asks(kid, 50 * MINUTE)).toBe(true)
    await expect(new Seeker(one.issuer).asks(kid, 61 * MINUTE)).rejects.toMatchObject({ status: 503 })
  })

  it('that fails, the issuer is asked', async () => {
    const fail = () => Promise.reject(new Error('KV is away'))
    const seeker = new Seeker(new TestIssuer(), new Isolate({ KV: { get: fail, put: fail } }))
    expect(await seeker.asks(await kidOf(seeker.issuer))).toBe(true)
    await seeker.settled()
  })
})

describe('where only the issuer is named', () => {
  it('its discovery document says where they are', async () => {
    const issuer = new TestIssuer()
    const seeker = new Seeker(issuer, new Isolate(), { discover: issuer.iss })
    expect(await seeker.asks(await kidOf(issuer))).toBe(true)
    expect(await issuer.watched()).toMatchObject({ discovery: 1, jwks: 1 })
  })

  it('a document that names another issuer is not believed', async () => {
    const issuer = new TestIssuer()
    const kid = await kidOf(issuer)
    // The same document, asked for by another spelling of the name.
    const seeker = new Seeker(issuer, new Isolate(), { discover: `${issuer.iss}/` })
    await expect(seeker.asks(kid)).rejects.toMatchObject({ status: 503 })
    expect(await issuer.watched()).toMatchObject({ discovery: 1, jwks: 0 })
  })
})
