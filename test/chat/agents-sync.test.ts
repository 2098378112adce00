import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tenantKeepings } from '../../src/data/erasure'
import { allSweeps, dueNext } from '../../src/data/sweeping'
import { agentsKeptBy, type Keeper, keeperOfAgents } from '../../src/domains/chat/agents/sync/keeper'
import { syncAgent } from '../../src/domains/chat/agents/sync/service'
import { agentSyncs } from '../../src/domains/chat/agents/sync/table'
import { type AgentRow, agents } from '../../src/domains/chat/agents/table'
import { openai } from '../../src/domains/chat/openai/dialect'
import { providers } from '../../src/domains/providers/table'
import type { Bindings } from '../../src/env'
import { iso } from '../../src/lib/ids'
import { problem } from '../../src/lib/problem'
import { expectError } from '../http/expect-error'
import { knowing } from '../knowledge/kit'
import { call, callJson, makeWorld, type World } from '../world'
import { eventually } from './kit'

type Shown = {
  id: string
  name: string
  sync_status: string | null
  sync_error: string | null
  provider_agent_id: string | null
  knowledge_base_ids: string[]
}

/** A provider that a test can have fail, wait, and be asked what it was told. */
class Provider implements Keeper {
  readonly told: { id: string; name: string; there: string | null }[] = []
  readonly removed: { id: string; there: string | null }[] = []
  fails: (() => Error) | null = null
  before: (() => Promise<unknown>) | null = null
  ended = 0

  async save(_: unknown, { id, name, provider_agent_id }: AgentRow): Promise<string> {
    const { before } = this
    this.before = null
    this.told.push({ id, name, there: provider_agent_id })
    await before?.()
    this.ended += 1
    if (this.fails) throw this.fails()
    return `there-${id}`
  }

  async remove(_: unknown, { id, provider_agent_id }: Pick<AgentRow, 'id' | 'provider_agent_id'>) {
    if (this.fails) throw this.fails()
    this.removed.push({ id, there: provider_agent_id })
  }

  /** Has the next call to it last until the test ends it: by looks of its own, since it is another request's. */
  holds() {
    const held = { called: false, ends: false }
    this.before = async () => {
      held.called = true
      while (!held.ends) await scheduler.wait(5)
    }
    return held
  }

  names = (id: string) => this.told.filter((one) => one.id === id).map(({ name }) => name)
}

const provider = new Provider()
const usual = keeperOfAgents()
beforeAll(() => agentsKeptBy(provider))
afterAll(() => usual && agentsKeptBy(usual))

const PATH = '/api/v1/agents'
const make = async (world: World, more: object = {}) => {
  const body = { name: 'Caller', kind: 'ultravox', greeting: 'Hello', language: 'de-ch', ...more }
  const made = await callJson<Shown>('POST', PATH, { token: world.developer.token, body })
  if (made.status !== 201) throw new Error(JSON.stringify(made.error))
  return made.data
}
const read = async (world: World, { id }: Pick<Shown, 'id'>) =>
  (await callJson<Shown>('GET', `${PATH}/${id}`, { token: world.developer.token })).data
const patch = (world: World, { id }: Pick<Shown, 'id'>, body: object) =>
  callJson<Shown>('PATCH', `${PATH}/${id}`, { token: world.developer.token, body })
const synced = (world: World, agent: Pick<Shown, 'id'>, is = 'synced') =>
  eventually(async () => {
    const now = await read(world, agent)
    return now.sync_status === is ? now : null
  })
const rowOf = (world: World, { id }: Pick<Shown, 'id'>) =>
  world.ctx.db
    .select()
    .from(agents)
    .where(and(eq(agents.tenant_id, world.tenant.id), eq(agents.id, id)))
    .get()
const left = (world: World, { id }: Pick<Shown, 'id'>) =>
  world.ctx.db
    .select()
    .from(agentSyncs)
    .where(and(eq(agentSyncs.tenant_id, world.tenant.id), eq(agentSyncs.agent_id, id)))
    .get()

/** What the sweep does so much later. */
async function sweptAt(ms: number): Promise<void> {
  const work: Promise<unknown>[] = []
  const sweep = allSweeps().get('agents_not_synced')
  await sweep?.(env as unknown as Bindings, { waitUntil: (one) => void work.push(one) }, Date.now() + ms)
  await Promise.all(work)
}

/** Makes what is due later due now, as time would. */
const passed = (world: World, { id }: Pick<Shown, 'id'>) =>
  env.DB.prepare('update agent_syncs set due_at = ? where tenant_id = ? and agent_id = ?')
    .bind(iso(Date.now() - 1), world.tenant.id, id)
    .run()

describe('an agent that a provider keeps', { timeout: 60_000 }, () => {
  it('is told to it when it is made and at each change, and says so', async () => {
    const world = await makeWorld()
    const made = await make(world)
    expect(made).toMatchObject({ sync_status: 'pending', provider_agent_id: null, language: 'de-CH' })
    const first = await synced(world, made)
    expect(first).toMatchObject({ provider_agent_id: `there-${made.id}`, sync_error: null })
    const changed = await patch(world, made, { name: 'Again' })
    expect([changed.status, changed.data.sync_status]).toEqual([200, 'pending'])
    await synced(world, made)
    expect(provider.told.filter(({ id }) => id === made.id)).toEqual([
      { id: made.id, name: 'Caller', there: null },
      { id: made.id, name: 'Again', there: `there-${made.id}` },
    ])
    expect(await left(world, made)).toBeUndefined()
  })

  it('is told again until the provider is there, and the change stands meanwhile', async () => {
    const world = await makeWorld()
    const made = await make(world)
    await synced(world, made)
    provider.fails = () => problem('provider_failed', 'The provider ultravox answered 503')
    const changed = await patch(world, made, { name: 'Later' })
    expect([changed.status, changed.data.name]).toEqual([200, 'Later'])
    const waiting = await eventually(async () => {
      const now = await read(world, made)
      return now.sync_error ? now : null
    })
    expect(waiting).toMatchObject({
      ...{ sync_status: 'pending', sync_error: 'The provider ultravox answered 503' },
    })
    const row = await left(world, made)
    expect([row?.attempts, row?.claim]).toEqual([1, null])
    // It is due by the clock, so that the sweeper wakes for it, and not before.
    expect(Date.parse(row?.due_at ?? '')).toBeGreaterThan(Date.now())
    expect(await dueNext(env as unknown as Bindings)).toBeLessThanOrEqual(Date.parse(row?.due_at ?? ''))
    const asked = provider.told.length
    await syncAgent(world.ctx, made.id)
    expect(provider.told).toHaveLength(asked)
    provider.fails = null
    await passed(world, made)
    await sweptAt(0)
    expect(await read(world, made)).toMatchObject({ sync_status: 'synced', sync_error: null })
    expect(provider.names(made.id).at(-1)).toBe('Later')
  })

  it('says what a provider refused, and is told again with the next change', async () => {
    const world = await makeWorld()
    provider.fails = () => problem('provider_refused', 'The provider ultravox answered 400: no such voice')
    const made = await make(world)
    const failed = await synced(world, made, 'failed')
    expect(failed.sync_error).toBe('The provider ultravox answered 400: no such voice')
    expect(await left(world, made)).toBeUndefined()
    provider.fails = null
    await patch(world, made, {})
    expect(await synced(world, made)).toMatchObject({ sync_error: null })
  })

  it('is told of a change that came while the provider was told of another', async () => {
    const world = await makeWorld()
    const held = provider.holds()
    const made = await make(world)
    await eventually(() => held.called)
    for (const name of ['One', 'Two']) expect((await patch(world, made, { name })).status).toBe(200)
    // The first has not ended: nobody else tells the provider meanwhile.
    expect(provider.names(made.id)).toEqual(['Caller'])
    held.ends = true
    await synced(world, made)
    expect(provider.names(made.id)).toEqual(['Caller', 'Two'])
    expect(await left(world, made)).toBeUndefined()
  })

  it('is told again where who told the provider died', async () => {
    const world = await makeWorld()
    const held = provider.holds()
    const made = await make(world)
    await eventually(() => held.called)
    await sweptAt(0)
    expect(provider.names(made.id)).toEqual(['Caller'])
    await passed(world, made)
    await sweptAt(0)
    expect(await read(world, made)).toMatchObject({ sync_status: 'synced' })
    // What it says after all is not heard any more.
    const { version } = (await rowOf(world, made)) ?? {}
    held.ends = true
    await eventually(async () => provider.ended === provider.told.length)
    await scheduler.wait(100)
    expect(await rowOf(world, made)).toMatchObject({ version, sync_status: 'synced' })
  })

  it('is deleted there as well, whatever goes on or wrong there', async () => {
    const world = await makeWorld()
    const { token } = world.developer
    const one = await make(world)
    await synced(world, one)
    provider.fails = () => problem('provider_failed', 'The provider ultravox can’t be reached')
    expect((await call('DELETE', `${PATH}/${one.id}`, { token })).status).toBe(204)
    await eventually(async () => (await left(world, one))?.attempts === 1)
    provider.fails = null
    await passed(world, one)
    await sweptAt(0)
    expect(provider.removed).toContainEqual({ id: one.id, there: `there-${one.id}` })
    expect(await left(world, one)).toBeUndefined()

    const held = provider.holds()
    const other = await make(world)
    await eventually(() => held.called)
    expect((await call('DELETE', `${PATH}/${other.id}`, { token })).status).toBe(204)
    held.ends = true
    await eventually(async () => provider.removed.some(({ id }) => id === other.id))
    expect(provider.removed).toContainEqual({ id: other.id, there: `there-${other.id}` })
    await eventually(async () => (await left(world, other)) === undefined)
  })

  it('is told what a base that is deleted changes', async () => {
    const world = await makeWorld()
    const base = await knowing(world, { 'a.md': '# A\n\nOne.' })
    const made = await make(world, { knowledge_base_ids: [base] })
    await synced(world, made)
    await call('DELETE', `/api/v1/kb/${base}`, { token: world.developer.token })
    expect(await read(world, made)).toMatchObject({ sync_status: 'pending', knowledge_base_ids: [] })
    await sweptAt(1000)
    expect(await read(world, made)).toMatchObject({ sync_status: 'synced' })
    expect(provider.names(made.id)).toHaveLength(2)
  })

  it('is told anew to the account that its tenant has from now on', async () => {
    const world = await makeWorld()
    const made = await make(world)
    await synced(world, made)
    const before = await read(world, made)
    await world.ctx.db.insert(providers).values({
      ...{ tenant_id: world.tenant.id, id: 'ultravox', provider: 'ultravox', base_url: null, options: {} },
      ...{ version: 1, created_at: iso(Date.now()), updated_at: iso(Date.now()) },
    })
    const after = await callJson('GET', `${PATH}/${made.id}`, { token: world.developer.token })
    expect([before.sync_status, after.data]).toEqual(['synced', { ...before, sync_status: 'pending' }])
    await sweptAt(1000)
    expect(await read(world, made)).toMatchObject({ sync_status: 'synced' })
    const told = provider.names(made.id).length
    await world.ctx.db
      .delete(providers)
      .where(and(eq(providers.tenant_id, world.tenant.id), eq(providers.id, 'ultravox')))
    await sweptAt(1000)
    expect(provider.names(made.id)).toHaveLength(told + 1)
  })

  it('goes with its tenant; a provider that refuses holds that up no longer than one that is down', async () => {
    const world = await makeWorld()
    const [one, other] = [await make(world), await make(world)]
    await synced(world, one)
    await synced(world, other)
    const keeping = tenantKeepings().find(({ name }) => name === 'agents_at_provider')
    expect(await keeping?.keys(world.ctx, '', 10)).toEqual([one.id, other.id].sort())
    expect(await keeping?.keys(world.ctx, '', 1)).toHaveLength(1)
    const erase = (id: string) => keeping?.erase(env as unknown as Bindings, world.tenant.id, id)
    provider.fails = () => problem('provider_failed', 'down')
    await expect(erase(one.id)).rejects.toThrow('down')
    provider.fails = () => problem('provider_refused', 'no')
    await erase(one.id)
    provider.fails = null
    await erase(other.id)
    expect(provider.removed).toContainEqual({ id: other.id, there: `there-${other.id}` })
    expect(await keeping?.keys(world.ctx, '', 10)).toEqual([])
  })
})

describe('an agent of calls', { timeout: 60_000 }, () => {
  it('is not written to, and says what to do', async () => {
    const world = await makeWorld()
    const { id } = await make(world)
    const { token } = world.developer
    const body = { content: 'Hello' }
    const asked = [
      call('POST', '/api/v1/chats', { token, body: { agent_id: id } }),
      call('POST', `${PATH}/${id}/test`, { token, body }),
      call('POST', '/api/v1/openai/chat/completions', {
        ...{ token, body: { model: id, messages: [{ role: 'user', content: 'Hello' }] } },
      }),
    ]
    for (const [i, answer] of asked.entries()) {
      const text = (await answer).clone().text()
      await expectError(answer, 'agent_on_calls_only', i === 2 ? openai : undefined)
      expect(await text).toContain(i === 2 ? 'agent_on_calls_only' : 'POST /api/v1/calls')
    }
    const models = await callJson<unknown>('GET', '/api/v1/openai/models', { token })
    expect(JSON.stringify(models)).not.toContain(id)
    const steps = [{ name: 'ask', type: 'agent', agent_id: id, prompt: 'Hello' }]
    const saved = await call('POST', '/api/v1/workflows', { token, body: { name: 'W', steps } })
    expect(await saved.json()).toMatchObject({
      error: { details: { fields: { 'steps.0.agent_id': 'must be of an agent that can be written to' } } },
    })
  })

  it.each([
    [{ language: 'klingon language' }, 'language'],
    [{ language: 5 }, 'language'],
    [{ greeting: 'x'.repeat(2001) }, 'greeting'],
    [{ voice_id: 'bella' }, 'voice_id'],
    [{ voice_id: crypto.randomUUID() }, 'voice_id'],
    [{ tools: [crypto.randomUUID()] }, 'tools.0'],
    [{ tools: 'all' }, 'tools'],
    [{ sync_status: 'synced' }, 'sync_status'],
    [{ provider_agent_id: 'x' }, 'provider_agent_id'],
    [{ webhook_url: 'https://example.com' }, 'webhook_url'],
  ])('is refused by the name of what is wrong: %j', async (more, field) => {
    const world = await makeWorld()
    const body = { name: 'Caller', kind: 'ultravox', ...more }
    const { details } = await expectError(
      call('POST', PATH, { token: world.developer.token, body }),
      'validation_failed',
    )
    expect(Object.keys(details.fields as object)).toEqual([field])
  })
})
