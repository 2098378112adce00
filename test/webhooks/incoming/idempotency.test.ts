import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../../world'
import {
  incomingEvents,
  makeSource,
  ofGithub,
  ofSlack,
  ofStripe,
  ofTelnyx,
  ofUltravox,
  outcome,
  post,
  recordsOf,
  type Sent,
} from './kit'

// http.md: a sender that is proven may send a key along, which is its own.

const REPLAYED = 'Idempotency-Replayed'

const under = (key: string, { body, headers }: Sent): Sent => ({
  body,
  headers: { ...headers, 'Idempotency-Key': key },
})

const keysOf = async (key: string) =>
  (
    await env.DB.prepare('select tenant_id, principal, status from idempotency_keys where key = ?')
      .bind(key)
      .all()
  ).results

describe('a webhook with a key', { timeout: 30_000 }, () => {
  it('is taken in once, and answered as at first', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const key = crypto.randomUUID()
    const body = `{"zen":"${key}"}`
    const first = await outcome(post(`in/${id}`, under(key, ofGithub(body))))
    expect([first.status, first.data.duplicate, first.headers.get(REPLAYED)]).toEqual([200, false, null])
    // By its key, even if the sender calls it something else.
    const again = await outcome(post(`in/${id}`, under(key, ofGithub(body))))
    expect([again.status, again.text, again.headers.get(REPLAYED)]).toEqual([200, first.text, 'true'])
    expect(await incomingEvents(world.tenant.id)).toHaveLength(1)
    expect(await keysOf(key)).toEqual([
      { tenant_id: world.tenant.id, principal: `source:${id}`, status: 200 },
    ])
    const other = await outcome(post(`in/${id}`, under(key, ofGithub('{}'))))
    expect([other.status, other.code]).toEqual([422, 'idempotency_key_reused'])
    // Another source's key is another key.
    const neighbour = await makeSource(world, { kind: 'github' })
    const theirs = await outcome(post(`in/${neighbour}`, under(key, ofGithub('{}'))))
    expect([theirs.status, theirs.headers.get(REPLAYED)]).toEqual([200, null])
  })

  it('is taken in once of many at the same time', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const key = crypto.randomUUID()
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => outcome(post(`in/${id}`, under(key, ofGithub('{"n":1}'))))),
    )
    const taken = answers.filter(({ status }) => status === 200)
    expect(taken.length).toBeGreaterThan(0)
    expect(new Set(taken.map(({ data }) => data.id)).size).toBe(1)
    for (const { status, code } of answers)
      if (status !== 200) expect([status, code]).toEqual([409, 'idempotency_in_progress'])
    expect(await incomingEvents(world.tenant.id)).toHaveLength(1)
  })

  it('that is signed wrongly has no key, and is not answered from one', async () => {
    const id = await makeSource(await makeWorld(), { kind: 'github' })
    const key = crypto.randomUUID()
    const forged = () => outcome(post(`in/${id}`, under(key, ofGithub('{}', undefined, 'a wrong secret'))))
    expect((await forged()).status).toBe(401)
    expect(await keysOf(key)).toEqual([])
    expect((await outcome(post(`in/${id}`, under(key, ofGithub('{}'))))).status).toBe(200)
    const refused = await forged()
    expect([refused.status, refused.headers.get(REPLAYED)]).toEqual([401, null])
  })

  it('that is refused is in the log of its source, for its key as well, and once for a repeat', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const [broken, reused] = [crypto.randomUUID(), crypto.randomUUID()]
    const send = (key: string, body: string) => outcome(post(`in/${id}`, under(key, ofGithub(body))))
    expect((await send(broken, '{')).status).toBe(400)
    expect((await send(broken, '{')).headers.get(REPLAYED)).toBe('true')
    expect((await send(reused, '{"n":1}')).status).toBe(200)
    expect((await send(reused, '{"n":2}')).code).toBe('idempotency_key_reused')
    const log = await callJson<{ code: string }[]>('GET', `/api/v1/webhooks/sources/${id}/errors`, {
      token: world.admin.token,
    })
    expect(log.data.map(({ code }) => code)).toEqual(['idempotency_key_reused', 'malformed_json'])
  })

  it('that was here before stands for its key, too', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'slack' })
    const send = (key: string | null, event: string, text: string) => {
      const body = JSON.stringify({
        type: 'event_callback',
        event_id: event,
        event: { type: 'message', text },
      })
      return outcome(post(`in/${id}`, key === null ? ofSlack(body) : under(key, ofSlack(body))))
    }
    const key = crypto.randomUUID()
    expect((await send(null, 'Ev1', 'a')).status).toBe(200)
    expect((await send(key, 'Ev1', 'a')).headers.get(REPLAYED)).toBeNull()
    expect((await send(key, 'Ev1', 'a')).headers.get(REPLAYED)).toBe('true')
    expect((await send(key, 'Ev2', 'b')).code).toBe('idempotency_key_reused')
    expect(await incomingEvents(world.tenant.id)).toHaveLength(1)
  })

  it('that is Slack’s challenge is answered with that again', async () => {
    const id = await makeSource(await makeWorld(), { kind: 'slack' })
    const key = crypto.randomUUID()
    const send = (challenge: string) => {
      const body = JSON.stringify({ type: 'url_verification', challenge })
      return outcome(post(`in/${id}`, under(key, ofSlack(body))))
    }
    const [first, again] = [await send('c1'), await send('c1')]
    expect([first.status, first.text, first.headers.get(REPLAYED)]).toEqual([200, 'c1', null])
    expect([again.status, again.text, again.headers.get(REPLAYED)]).toEqual([200, 'c1', 'true'])
    expect(again.headers.get('Content-Type')).toBe(first.headers.get('Content-Type'))
    expect((await send('c2')).code).toBe('idempotency_key_reused')
  })

  it('of Slack is answered with nothing then as well', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'slack' })
    const key = crypto.randomUUID()
    const body = JSON.stringify({ type: 'event_callback', event_id: key, event: { type: 'message' } })
    const send = () => {
      return outcome(post(`in/${id}`, under(key, ofSlack(body))))
    }
    const [first, again] = [await send(), await send()]
    expect([first.status, first.text]).toEqual([200, ''])
    expect([again.status, again.text, again.headers.get(REPLAYED)]).toEqual([200, '', 'true'])
    expect(again.headers.get('Content-Type')).toBe(first.headers.get('Content-Type'))
    expect(await incomingEvents(world.tenant.id)).toHaveLength(1)
  })

  const providers = [
    ['stripe', (id: string) => ofStripe({ id, type: 'charge.succeeded', data: { object: {} } })],
    ['telnyx', (id: string) => ofTelnyx({ data: { id, event_type: 'call.initiated', payload: {} } })],
    ['ultravox', (id: string) => ofUltravox({ event: 'call.started', call: { callId: id } })],
  ] as const
  for (const [provider, of] of providers)
    it(`of ${provider} is on record once`, async () => {
      const key = crypto.randomUUID()
      const sent = under(key, of(key))
      const first = await outcome(post(provider, sent))
      const again = await outcome(post(provider, sent))
      expect([first.status, first.data.duplicate, first.headers.get(REPLAYED)]).toEqual([202, false, null])
      expect([again.status, again.text, again.headers.get(REPLAYED)]).toEqual([202, first.text, 'true'])
      expect(await keysOf(key)).toEqual([
        { tenant_id: 'public', principal: `source:${provider}`, status: 202 },
      ])
      if (provider === 'stripe') expect(await recordsOf('public', provider, key)).toHaveLength(1)
    })
})
