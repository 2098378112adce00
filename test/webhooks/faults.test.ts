import { Webhook } from 'standardwebhooks'
import { describe, expect, it, vi } from 'vitest'
import type { Attempt, DeliveryDetail } from '../../src/domains/webhooks/deliveries/schema'
import type { Seen, Step } from '../receiver/hooks'
import { callJson, makeWorld, type World } from '../world'
import { connect, pass, send, settled } from './deliver'
import { eventually } from './receiver'

// What goes wrong at receivers, seen from both sides: what the log of attempts says is what the receiver saw.

/** The log and the receiver tell of the same attempts, and of the same requests. */
function agree({ attempts, event_id }: DeliveryDetail, seen: readonly Seen[]): void {
  expect(seen.map(({ headers }) => headers['webhook-attempt'])).toEqual(
    attempts.map(({ number }) => String(number)),
  )
  for (const [i, { request_headers, attempted_at }] of attempts.entries()) {
    const one = seen[i]
    expect(one?.headers).toMatchObject(request_headers)
    expect(one?.headers['webhook-id']).toBe(event_id)
    expect(Math.abs(Date.parse(attempted_at) - (one?.at ?? 0))).toBeLessThan(2000)
  }
}

type Told = { delivery: DeliveryDetail; attempt: Attempt; seen: Seen; endpointId: string }

/** One event to a receiver that takes this step: the first attempt, from both sides. */
async function meet(world: World, step: Step, input: Record<string, unknown> = {}): Promise<Told> {
  const type = `fault.${crypto.randomUUID()}`
  const { receiver, endpoint } = await connect(world, [step], {
    ...{ event_types: [type], timeout_ms: 2000, ...input },
  })
  await send(world, type)
  const delivery = await settled(world, endpoint.id, ({ attempt_count }) => attempt_count === 1, 15_000)
  const seen = await eventually(async () => {
    const all = await receiver.seen()
    return all.every(({ answer }) => answer !== 'on') && all
  }, 15_000)
  agree(delivery, seen)
  const [attempt] = delivery.attempts
  const [one] = seen
  if (!attempt || !one) throw new Error('nothing was sent')
  return { delivery, attempt, seen: one, endpointId: endpoint.id }
}

const statusOf = async (world: World, endpointId: string) =>
  (await callJson<{ status: string }>('GET', `/api/v1/webhooks/${endpointId}`, { token: world.viewer.token }))
    .data.status

/** Statuses in groups of so many at once. */
async function inGroups<T>(all: readonly T[], size: number, run: (one: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < all.length; i += size) await Promise.all(all.slice(i, i + size).map(run))
}

describe('a status', { timeout: 60_000 }, () => {
  const STATUSES = {
    delivered: [200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 250, 299],
    redirect: [300, 301, 302, 303, 304, 305, 306, 307, 308, 399],
    status: [
      ...[400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 411, 412, 413, 414, 415, 416, 417, 418, 421],
      ...[422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508],
      ...[510, 511, 519, 528, 529, 531, 561, 598, 599],
    ],
    // What Cloudflare's edge makes up where the receiver did not answer.
    network: [520, 521, 522, 523, 524, 525, 526, 527, 530],
  }

  it.each(Object.entries(STATUSES))('is read as the table says: %s', async (word, statuses) => {
    const world = await makeWorld()
    await inGroups(statuses, 10, async (status) => {
      const { delivery, attempt, seen } = await meet(world, { status, body: `it is ${status}` })
      const bare = [204, 205, 304].includes(status)
      expect([status, attempt.response_status]).toEqual([status, status])
      expect([status, attempt.response_body]).toEqual([status, bare ? '' : `it is ${status}`])
      expect([status, seen.answer]).toEqual([status, 'whole'])
      if (word === 'delivered') expect([status, delivery.status, attempt.error]).toEqual([status, word, null])
      else {
        expect([status, delivery.status]).toEqual([status, 'pending'])
        expect(attempt.error).toMatch(new RegExp(`^${word}: .*\\b${status}\\b`))
        const wait = Date.parse(delivery.next_attempt_at ?? '') - Date.parse(attempt.attempted_at)
        expect(wait).toBeGreaterThan(4400)
        expect(wait).toBeLessThan(9000)
      }
    })
  })

  it('that only announces another delivers nothing', async () => {
    const world = await makeWorld()
    // The runtime hands over what Cloudflare's edge would wait behind: the interim answer.
    const raw = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
    const { attempt, delivery } = await meet(world, { does: 'raw', raw })
    expect(attempt).toMatchObject({ response_status: 103, error: 'status: answered 103' })
    expect(delivery.status).toBe('pending')
  })

  it('410 ends the endpoint, and the receiver is not asked again', async () => {
    const world = await makeWorld()
    const { delivery, attempt, endpointId } = await meet(world, { status: 410 })
    expect(attempt).toMatchObject({ response_status: 410, error: 'gone: answered 410' })
    expect(delivery).toMatchObject({ status: 'failed', next_attempt_at: null })
    expect(await statusOf(world, endpointId)).toBe('disabled')
  })
})

describe('a redirect', { timeout: 20_000 }, () => {
  it.each([
    'http://169.254.169.254/latest/meta-data/iam/security-credentials/',
    'http://metadata.google.internal/computeMetadata/v1/',
    'http://[fd00:ec2::254]/',
    'file:///etc/passwd',
    '//127.0.0.1:6379/',
    'not a url at all\x80',
  ])('to %s is shown and never followed', async (location) => {
    const world = await makeWorld()
    const { attempt, delivery } = await meet(world, { status: 302, headers: { location }, body: '' })
    expect(attempt).toMatchObject({
      ...{ response_status: 302, error: 'redirect: answered 302, which is not followed' },
    })
    if (!location.includes('\x80')) expect(attempt.response_headers).toMatchObject({ location })
    expect(delivery).toMatchObject({ status: 'pending', attempt_count: 1 })
  })
})

describe('a connection', { timeout: 30_000 }, () => {
  it.each<[string, Step, number | null, string | null]>([
    ['reset before it answers', { does: 'reset' }, null, null],
    ['closed before it answers', { does: 'raw', raw: '' }, null, null],
    ['closed within the headers', { does: 'raw', raw: 'HTTP/1.1 200 OK\r\nx-a: ' }, null, null],
    ['on which nothing like HTTP comes', { does: 'raw', raw: '220 mail.example.org ESMTP\r\n' }, null, null],
    ['with a status that is none', { does: 'raw', raw: 'HTTP/1.1 abc OK\r\n\r\n' }, null, null],
    ['with two lengths', { does: 'raw', raw: 'HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nok' }, null, null],
    ['reset within the body', { does: 'reset-body' }, 200, 'the beginning'],
    ['closed within the body', { does: 'short' }, 200, 'the beginning'],
    [
      'with a broken chunk',
      { does: 'raw', raw: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n' },
      ...([200, 'abc'] as const),
    ],
    [
      'with a body that is not gzip',
      { headers: { 'content-encoding': 'gzip' }, body: 'it is not gzip' },
      ...([200, ''] as const),
    ],
  ])('%s is a failed attempt of its own kind', async (_, step, status, body) => {
    const world = await makeWorld()
    const { attempt, delivery } = await meet(world, step)
    expect(attempt).toMatchObject({ response_status: status, response_body: body })
    expect(attempt.error).toMatch(/^network: ./)
    expect(attempt.error).not.toMatch(/\n|127\.0\.0\.1/)
    expect(delivery).toMatchObject({ status: 'pending', delivered_at: null })
    expect(attempt.duration_ms).toBeLessThan(2000)
  })

  it.each([
    ['no such host', 'http://no-such-host.invalid:9000/'],
    ['plain http where TLS is spoken to', 'https'],
  ])('that can’t be made: %s', async (_, where) => {
    const world = await makeWorld()
    const type = `fault.${crypto.randomUUID()}`
    const { receiver, endpoint } = await connect(world, [{}], { event_types: ['nothing'] })
    const url = where === 'https' ? receiver.url.replace('http:', 'https:') : where
    await callJson('PATCH', `/api/v1/webhooks/${endpoint.id}`, {
      ...{ token: world.developer.token, body: { url, event_types: [type], timeout_ms: 5000 } },
    })
    await send(world, type)
    const delivery = await settled(world, endpoint.id, ({ attempt_count }) => attempt_count === 1, 15_000)
    expect(delivery.attempts[0]).toMatchObject({ response_status: null, response_headers: null })
    expect(delivery.attempts[0]?.error).toMatch(/^network: no connection: DNS, TLS or HTTP failed \(.+\)$/)
    expect(await receiver.seen()).toEqual([])
  })
})

describe('a slow answer', { timeout: 30_000 }, () => {
  it.each<[string, Step, number | null]>([
    ['that never comes', { does: 'hang' }, null],
    ['whose headers never end', { does: 'drip-headers' }, null],
    ['whose body never ends', { does: 'drip' }, 200],
    ['that comes after the time', { delay_ms: 2500 }, null],
  ])('%s is given up when its time is over, and the receiver is let go', async (_, step, status) => {
    const world = await makeWorld()
    const { attempt, seen, delivery } = await meet(world, step, { timeout_ms: 1000 })
    expect(attempt).toMatchObject({
      ...{ response_status: status, error: 'timeout: no complete answer within 1000 ms' },
    })
    expect(attempt.duration_ms).toBeGreaterThanOrEqual(990)
    expect(attempt.duration_ms).toBeLessThan(1700)
    expect(seen.answer).toBe('cut')
    expect(delivery.status).toBe('pending')
  })
})

describe('a large answer', { timeout: 30_000 }, () => {
  it.each<[string, Step]>([
    ['a body without an end', { does: 'huge' }],
    ['a body of a gigabyte', { does: 'huge', headers: { 'content-length': String(1024 ** 3) } }],
    ['a gzip bomb', { does: 'gzip-bomb' }],
  ])('%s is read no further than 64 KiB', async (name, step) => {
    const world = await makeWorld()
    const { attempt, seen, delivery } = await meet(world, step)
    expect(delivery.status).toBe('delivered')
    expect(attempt.response_body).toHaveLength(16 * 1024)
    expect(attempt.error).toBeNull()
    expect(attempt.duration_ms).toBeLessThan(1500)
    // What the sockets hold between them left the receiver too.
    if (name === 'a gzip bomb') return
    expect(seen.answer).toBe('cut')
    expect(seen.written).toBeLessThan(32 * 1024 ** 2)
  })

  it('that is an error is read and kept alike', async () => {
    const world = await makeWorld()
    const { attempt, seen, delivery } = await meet(world, { does: 'huge', status: 500 })
    expect(attempt).toMatchObject({ response_status: 500, error: 'status: answered 500' })
    expect(attempt.response_body).toHaveLength(16 * 1024)
    expect([delivery.status, seen.answer]).toEqual(['pending', 'cut'])
  })

  it('that is not text is kept as text', async () => {
    const world = await makeWorld()
    const bytes = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')
    const raw = `HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n${bytes}`
    const { attempt } = await meet(world, { does: 'raw', raw })
    expect(attempt.response_body?.slice(0, 128)).toBe(bytes.slice(0, 128))
    expect(attempt.response_body).toContain('\ufffd')
  })

  it('with 64 KB of headers: the short ones are kept, the long one as far as there is room', async () => {
    const world = await makeWorld()
    const headers = { 'a-long': 'y'.repeat(64_000), 'retry-after': '7', 'x-request-id': 'abc' }
    const { attempt, seen } = await meet(world, { status: 500, headers })
    expect(attempt).toMatchObject({ response_status: 500, response_body: 'ok' })
    expect(attempt.response_headers).toMatchObject({ 'retry-after': '7', 'x-request-id': 'abc' })
    const kept = attempt.response_headers?.['a-long'] ?? ''
    expect(kept).toMatch(/^y+$/)
    expect(kept.length).toBeGreaterThan(15_000)
    expect(JSON.stringify(attempt.response_headers).length).toBeLessThan(17_000)
    expect([seen.answer, seen.written > 64_000]).toEqual(['whole', true])
  })

  it('with a thousand headers, and some that come twice', async () => {
    const world = await makeWorld()
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`x-${i}`, 'v'.repeat(40)]))
    const headers = { ...many, 'set-cookie': ['a=1', 'b=2'] }
    const { attempt, delivery } = await meet(world, { headers })
    expect(delivery.status).toBe('delivered')
    expect(attempt.response_headers?.['set-cookie']).toBe('a=1, b=2')
    expect(JSON.stringify(attempt.response_headers).length).toBeLessThan(20_000)
  })

  it.each([
    ['Latin-1', 'caf\xe9'],
    ['UTF-8', 'gr\xc3\xbc\xc3\x9fe'],
    ['bytes of nothing', '\x80\xff\xfe'],
  ])('with headers that are not ASCII (%s) breaks nothing', async (_, value) => {
    const world = await makeWorld()
    const raw = `HTTP/1.1 500 Nicht m\xf6glich\r\nx-name: ${value}\r\nx-next: yes\r\ncontent-length: 4\r\n\r\nnope`
    const { attempt, delivery } = await meet(world, { does: 'raw', raw })
    expect(attempt).toMatchObject({ response_status: 500, response_body: 'nope' })
    expect(attempt.response_headers).toMatchObject({ 'x-next': 'yes' })
    expect(attempt.response_headers?.['x-name']).toMatch(/^.+$/)
    expect(delivery.status).toBe('pending')
  })
})

describe('a Retry-After', { timeout: 40_000 }, () => {
  const HOUR = 3600
  const DAY = 24 * HOUR
  const http = (inSeconds: number) => new Date(Date.now() + inSeconds * 1000).toUTCString()
  /** The header, and the seconds after which the endpoint may be asked again; null: as the schedule has it. */
  const FORMS: [string, () => Record<string, string>, number | null][] = [
    ['seconds', () => ({ 'retry-after': '120' }), 120],
    ['seconds with spaces around', () => ({ 'retry-after': '  90 ' }), 90],
    ['no time at all', () => ({ 'retry-after': '0' }), null],
    ['a date', () => ({ 'retry-after': http(HOUR) }), HOUR],
    ['a date in the past', () => ({ 'retry-after': http(-HOUR) }), null],
    ['absurd seconds', () => ({ 'retry-after': '99999999999999999999' }), DAY],
    ['an absurd date', () => ({ 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT' }), DAY],
    ['a word', () => ({ 'retry-after': 'soon' }), null],
    ['seconds before now', () => ({ 'retry-after': '-60' }), null],
    ['a fraction', () => ({ 'retry-after': '1.5e3' }), null],
    ['a date that is none', () => ({ 'retry-after': 'Wed, 32 Foo 2099 99:99:99 GMT' }), null],
    ['a day of May', () => ({ 'retry-after': '5 apples' }), null],
    // The receiver's clock is two hours fast or slow: it still asks for a minute.
    ['a date by a fast clock', () => ({ date: http(2 * HOUR), 'retry-after': http(2 * HOUR + 60) }), 60],
    ['a date by a slow clock', () => ({ date: http(-2 * HOUR), 'retry-after': http(-2 * HOUR + 60) }), 60],
    ['a date beside a date that is none', () => ({ date: 'today', 'retry-after': http(HOUR) }), HOUR],
  ]

  it.each([429, 503])('of a %i is heeded in every form, and bounded', async (status) => {
    const world = await makeWorld()
    await inGroups(FORMS, 8, async ([name, headers, seconds]) => {
      const step = { status, headers: headers() }
      const said = Date.now()
      const { delivery, attempt } = await meet(world, step)
      expect([name, attempt.response_headers?.['retry-after']?.trim()]).toEqual([
        name,
        step.headers['retry-after']?.trim(),
      ])
      const wait = (Date.parse(delivery.next_attempt_at ?? '') - Date.parse(attempt.attempted_at)) / 1000
      // A date is so much nearer by the time that it is read.
      const late = Math.max(0, Date.parse(attempt.attempted_at) + attempt.duration_ms - said) / 1000
      const [least, most] = seconds === null ? [4.4, 9] : [seconds - 1.5 - late, seconds + 4]
      expect([name, wait > least && wait < most, wait]).toEqual([name, true, wait])
    })
  })

  it('of another status is not', async () => {
    const world = await makeWorld()
    const { delivery, attempt } = await meet(world, { status: 500, headers: { 'retry-after': '3600' } })
    expect(Date.parse(delivery.next_attempt_at ?? '') - Date.parse(attempt.attempted_at)).toBeLessThan(9000)
  })
})

describe('a receiver that flaps', { timeout: 30_000 }, () => {
  it('gets every event once it is up, and the log tells of each time it was not', async () => {
    const world = await makeWorld()
    const steps: Step[] = [
      ...[{ status: 500 }, { does: 'reset' } as const, { status: 503 }, { does: 'short' } as const],
      ...[{ status: 200, body: 'at last' }],
    ]
    const { receiver, endpoint } = await connect(world, steps)
    await send(world)
    for (let count = 1; count < steps.length; count++) {
      await settled(
        world,
        endpoint.id,
        ({ attempt_count, status }) => attempt_count === count && status === 'pending',
      )
      await pass(world, endpoint.id)
    }
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    const seen = await receiver.seen()
    agree(delivery, seen)
    expect(delivery.attempts.map(({ response_status }) => response_status)).toEqual([
      500,
      null,
      503,
      200,
      200,
    ])
    expect(delivery.attempts.map(({ error }) => error?.split(':')[0] ?? null)).toEqual([
      ...['status', 'network', 'status', 'network', null],
    ])
    expect(seen.map(({ answer }) => answer)).toEqual(['whole', 'cut', 'whole', 'cut', 'whole'])
    expect(new Set(seen.map(({ body }) => body)).size).toBe(1)
  })
})

describe('a clock that is wrong', { timeout: 20_000 }, () => {
  it('at the receiver refuses what is good, and takes the next attempt, which is signed for its own time', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 400, body: 'too old' }, {}])
    await send(world)
    await settled(
      world,
      endpoint.id,
      ({ attempt_count, status }) => attempt_count === 1 && status === 'pending',
    )
    const [first] = await receiver.seen()
    const webhook = new Webhook(endpoint.secret)
    const verify = (one: Seen | undefined) => () => webhook.verify(one?.body ?? '', one?.headers ?? {})
    const now = Date.now()
    try {
      vi.useFakeTimers({ toFake: ['Date'], now: now - 600_000 })
      expect(verify(first)).toThrow('too new')
      vi.useRealTimers()
      vi.useFakeTimers({ toFake: ['Date'], now: now + 600_000, shouldAdvanceTime: true })
      expect(verify(first)).toThrow('too old')
      // Ten minutes later the same bytes come again.
      await pass(world, endpoint.id)
      const second = await eventually(async () => (await receiver.seen())[1])
      expect(verify(second)).not.toThrow()
      expect(second.body).toBe(first?.body)
      const timestamps = [first, second].map((one) => Number(one?.headers['webhook-timestamp']))
      expect((timestamps[1] ?? 0) - (timestamps[0] ?? 0)).toBeGreaterThanOrEqual(599)
    } finally {
      vi.useRealTimers()
    }
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect(delivery.attempts.map(({ response_body }) => response_body)).toEqual(['too old', 'ok'])
  })
})
