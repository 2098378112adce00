import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { MOST } from '../../../src/domains/tenancy/plans'
import { call, callJson, makeWorld, newAddress } from '../../world'
import { incomingEvents, makeSource, ofGithub, outcome, post } from './kit'

/** The statuses of so many requests, ten at a time, and how often each came. */
async function tally(count: number, ask: () => Promise<Response>): Promise<Record<number, number>> {
  const seen: Record<number, number> = {}
  for (let i = 0; i < count; i += 10)
    for (const { status } of await Promise.all(Array.from({ length: 10 }, () => outcome(ask()))))
      seen[status] = (seen[status] ?? 0) + 1
  return seen
}

const forged = () => ofGithub('{}', crypto.randomUUID(), 'no secret of this source')

describe('webhooks that come in are counted by their source', { timeout: 60_000 }, () => {
  it('a hundred a minute, unless it has another number: a flood at one hurts no other', async () => {
    const world = await makeWorld()
    const [flooded, other] = [
      await makeSource(world, { kind: 'github' }),
      await makeSource(world, { kind: 'github' }),
    ]
    expect(await tally(130, () => post(`in/${flooded}`, ofGithub('{}')))).toEqual({ 200: 100, 429: 30 })
    const refused = await outcome(post(`in/${flooded}`, ofGithub('{}')))
    expect(refused.error?.details).toMatchObject({ window: 'source', limit: 100, remaining: 0 })
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect((await incomingEvents(world.tenant.id)).length).toBe(100)
    const errors = `/api/v1/webhooks/sources/${flooded}/errors`
    const told = (await callJson<{ code: string }[]>('GET', errors, { token: world.admin.token })).data
    expect(told.map(({ code }) => code)).toEqual(['rate_limited'])
    // Neither the tenant's other source, nor another tenant's, nor what the tenant asks itself.
    const answer = await outcome(post(`in/${other}`, ofGithub('{}')))
    expect([answer.status, answer.headers.get('X-RateLimit-Remaining')]).toEqual([200, '99'])
    const stranger = await makeWorld()
    const theirs = await makeSource(stranger, { kind: 'github' })
    expect((await outcome(post(`in/${theirs}`, ofGithub('{}')))).status).toBe(200)
    const { headers } = await callJson('GET', '/api/v1/webhooks/sources', { token: world.admin.token })
    expect(Number(headers.get('X-RateLimit-Remaining'))).toBeGreaterThan(900)
  })

  it('by a number of its own, which is no way round the tenant’s', async () => {
    const rich = await makeWorld({ rate_limits: MOST })
    const more = await makeSource(rich, { kind: 'github', per_minute: 150 })
    expect(await tally(160, () => post(`in/${more}`, ofGithub('{}')))).toEqual({ 200: 150, 429: 10 })
    const poor = await makeWorld({ rate_limits: { requests_per_minute: 20 } })
    const less = await makeSource(poor, { kind: 'github', per_minute: 150 })
    expect(await tally(30, () => post(`in/${less}`, ofGithub('{}')))).toEqual({ 200: 20, 429: 10 })
  })

  it('what is refused uses up nothing of the source, or of the address that all customers of a sender share', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const address = { 'CF-Connecting-IP': newAddress() }
    const from = ({ body, headers }: ReturnType<typeof ofGithub>, to = id) =>
      call('POST', `/api/v1/webhooks/in/${to}`, { raw: body, headers: { ...headers, ...address } })
    expect(await tally(130, () => from(forged()))).toEqual({ 401: 100, 429: 30 })
    const { results } = await env.DB.prepare('select id from refused_webhooks where source = ?')
      .bind(id)
      .all()
    expect(results.length).toBe(100)
    const good = await outcome(from(ofGithub('{}')))
    expect([good.status, good.headers.get('X-RateLimit-Remaining')]).toEqual([200, '99'])
    expect((await call('GET', '/openapi.json', { headers: address })).status).toBe(200)
    // The window of refusals is the source's own too.
    const other = await makeSource(world, { kind: 'github' })
    expect((await outcome(from(forged(), other))).status).toBe(401)
  })

  it('who asks for sources that there are not is counted by address, and shuts nobody out', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const headers = { 'CF-Connecting-IP': newAddress() }
    const ask = () =>
      call('POST', `/api/v1/webhooks/in/${crypto.randomUUID()}`, { raw: '{}', headers: { ...headers } })
    expect(await tally(110, ask)).toEqual({ 404: 100, 429: 10 })
    const { body, headers: signed } = ofGithub('{}')
    const good = call('POST', `/api/v1/webhooks/in/${id}`, { raw: body, headers: { ...signed, ...headers } })
    expect((await outcome(good)).status).toBe(200)
  })
})
