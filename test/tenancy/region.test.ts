import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { knowRegion, meterOf, objectOf } from '../../src/data/objects'
import { wakeJob } from '../../src/domains/jobs/wake'
import { openStreamsOf } from '../../src/domains/metering/meter/holders'
import { channelOf } from '../../src/domains/realtime/channels'
import { takeTicket } from '../../src/domains/realtime/tickets'
import { wakeCalls } from '../../src/domains/voice/calls/wake'
import { tellTogether } from '../../src/domains/webhooks/deliveries/together'
import { senderOf } from '../../src/domains/webhooks/deliveries/wake'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { REGIONS } from '../../src/lib/regions'
import { Isolate } from '../identity/isolates'
import { PASSWORD, someone } from '../identity/kit'
import { callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

type Reached = { jurisdiction: string | null; name: string; locationHint?: string }

/** Objects of a class, as a test sees which of them are reached; this runtime has no jurisdictions of its own. */
function namespace(real?: DurableObjectNamespace) {
  const reached: Reached[] = []
  const within = (jurisdiction: string | null) => ({
    getByName: (name: string, options: object = {}) => {
      reached.push({ jurisdiction, name, ...options })
      return real?.getByName(name) ?? {}
    },
    jurisdiction: (other: string) => within(other),
  })
  return { reached, objects: within(null) as unknown as DurableObjectNamespace }
}

/** An isolate that knows nothing yet. */
function isolate(over: Record<string, unknown> = {}) {
  return new Isolate(over)
}

const bound = env as unknown as Record<string, DurableObjectNamespace>

/** Classes whose objects are no tenant's: counts of addresses, the service's own figures, the sweeper. */
const OF_THE_SERVICE = ['ADDRESS_METERS', 'METRICS', 'SWEEPER']

/** How the objects of a tenant are reached, class by class. */
const REACHING: Record<string, (env: Bindings, tenantId: string) => Promise<unknown>> = {
  METERS: meterOf,
  CHATS: (env, tenantId) => openStreamsOf(env, tenantId, `${tenantId}/${newId(0)}`),
  ENDPOINTS: (env, tenant_id) => senderOf(env, { tenant_id, endpoint_id: newId(0) }),
  JOBS: (env, tenant_id) => wakeJob(env, { tenant_id, job_id: newId(0) }),
  CALLS: wakeCalls,
  REALTIME: (env, tenantId) => channelOf(env, tenantId, `jobs:${newId(0)}`),
  REALTIME_TICKETS: (env, tenantId) => takeTicket(env, `rt_${tenantId}_${'x'.repeat(43)}`),
  REPORTERS: (env, tenantId) => tellTogether(env, tenantId, []),
}

async function inRegion(region: string | null): Promise<World> {
  const world = await makeWorld()
  await env.DB.prepare('update tenants set region = ? where id = ?').bind(region, world.tenant.id).run()
  return world
}

describe('a tenant’s objects', { timeout: 30_000 }, () => {
  it('are made near its region', async () => {
    for (const region of [...REGIONS, null]) {
      const { tenant } = await inRegion(region)
      const { reached, objects } = namespace()
      await objectOf(isolate().bindings, objects, tenant.id, 'x')
      const near = region === null || region === 'eu' ? {} : { locationHint: region }
      expect(reached).toEqual([{ jurisdiction: region === 'eu' ? 'eu' : null, name: 'x', ...near }])
    }
  })

  it('are found without asking again where an isolate has been told of the tenant', async () => {
    const { tenant } = await inRegion('weur')
    const { reached, objects } = namespace()
    const here = isolate()
    for (let n = 0; n < 3; n++) await objectOf(here.bindings, objects, tenant.id, 'x')
    expect(here.calls.filter((call) => call.startsWith('DB.'))).toHaveLength(1)
    const told = isolate()
    knowRegion(told.bindings, tenant.id, 'weur')
    await objectOf(told.bindings, objects, tenant.id, 'x')
    expect(told.calls).toEqual([])
    expect(new Set(reached.map(({ locationHint }) => locationHint))).toEqual(new Set(['weur']))
  })

  it('are reached without a hint while D1 is away, but never out of a jurisdiction', async () => {
    const DB = { prepare: () => ({ bind: () => ({ raw: () => Promise.reject(new Error('away')) }) }) }
    const { reached, objects } = namespace()
    await objectOf(isolate({ DB }).bindings, objects, newId(Date.now()), 'x')
    expect(reached).toEqual([{ jurisdiction: null, name: 'x' }])
    const careful = isolate({ DB, DATA_JURISDICTION: 'eu' })
    await expect(objectOf(careful.bindings, objects, newId(Date.now()), 'x')).rejects.toThrow()
    expect(reached).toHaveLength(1)
  })

  it('are all in the jurisdiction, whatever is asked of the tenant', async () => {
    const world = await inRegion('eu')
    const [meters, chats] = [env.METERS, env.CHATS].map((real) =>
      namespace(real as unknown as DurableObjectNamespace),
    )
    const here = isolate({ METERS: meters?.objects, CHATS: chats?.objects })
    const { token } = world.admin
    const ask = async (method: string, path: string, body?: object) => {
      const answer = await here.ask(method, path, { token, body })
      expect([path, answer.status]).toEqual([path, expect.toSatisfy((status: number) => status < 300)])
      return ((await answer.json()) as { data: { id: string } }).data
    }
    const agent = await ask('POST', '/api/v1/agents', { name: 'Echo', kind: 'echo' })
    const chat = await ask('POST', '/api/v1/chats', { agent_id: agent.id })
    await ask('GET', `/api/v1/chats/${chat.id}`)
    await ask('GET', '/api/v1/usage')
    await ask('GET', '/api/v1/usage/limits')
    await ask('PATCH', '/api/v1/tenants/current', { name: 'Told' })
    for (const [kind, name] of [
      [meters, world.tenant.id],
      [chats, `${world.tenant.id}/${chat.id}`],
    ] as const)
      expect(new Set(kind?.reached.map((one) => JSON.stringify(one)))).toEqual(
        new Set([JSON.stringify({ jurisdiction: 'eu', name })]),
      )
  })

  it('are in the jurisdiction whichever class they are of', async () => {
    const { tenant } = await inRegion('eu')
    for (const [binding, reach] of Object.entries(REACHING)) {
      const { reached, objects } = namespace(bound[binding])
      // What an object answers, or that it knows nothing of it, is another matter.
      await reach(isolate({ [binding]: objects }).bindings, tenant.id).catch(() => undefined)
      expect([binding, reached]).toEqual([
        binding,
        [{ jurisdiction: 'eu', name: expect.stringMatching(new RegExp(`^${tenant.id}(/|$)`)) }],
      ])
    }
    const classes = Object.keys(bound).filter(
      (name) => bound[name]?.constructor.name === 'DurableObjectNamespace',
    )
    expect([...Object.keys(REACHING), ...OF_THE_SERVICE].sort()).toEqual(classes.sort())
  })
})

describe('a region', { timeout: 30_000 }, () => {
  let platform: Person
  beforeAll(async () => {
    platform = await makePlatformAdmin()
  })
  const slug = () => `r-${crypto.randomUUID().slice(0, 8)}`
  type Tenant = { id: string; region: string | null }
  const create = (region: unknown, here = isolate()) =>
    here.ask('POST', '/api/platform/tenants', {
      token: platform.token,
      body: { name: 'R', slug: slug(), ...(region === undefined ? {} : { region }) },
    })

  it('is chosen when a tenant is made, and never changed', async () => {
    const made = ((await (await create('apac')).json()) as { data: Tenant }).data
    expect(made.region).toBe('apac')
    const path = `/api/platform/tenants/${made.id}`
    const patched = await callJson('PATCH', path, { token: platform.token, body: { region: 'weur' } })
    expect([patched.status, Object.keys(patched.error.details.fields ?? {})]).toEqual([422, ['region']])
    expect((await callJson<Tenant>('GET', path, { token: platform.token })).data.region).toBe('apac')
    const without = ((await (await create(undefined)).json()) as { data: Tenant }).data
    expect(without.region).toBeNull()
    const signedUp = await callJson<{ tenant: Tenant }>('POST', '/api/v1/tenants/onboarding/public', {
      body: { name: 'R', slug: slug(), email: someone(), password: PASSWORD, region: 'oc' },
    })
    expect([signedUp.status, signedUp.data.tenant.region]).toEqual([201, 'oc'])
    const own = await makeWorld()
    const self = await callJson('PATCH', '/api/v1/tenants/current', {
      token: own.admin.token,
      body: { region: 'oc' },
    })
    expect(self.status).toBe(422)
  })

  it('is one that there is', async () => {
    for (const region of ['mars', '', null, 'EU', 'us']) expect((await create(region)).status).toBe(422)
  })

  it('is the European Union where its database and bucket are, and is refused elsewhere', async () => {
    const refused = await create('eu')
    expect(refused.status).toBe(422)
    const { error } = (await refused.json()) as { error: { details: { fields: Record<string, string> } } }
    expect(error.details.fields.region).toMatch(/no database and bucket in the jurisdiction eu/)
    const there = { DATA_JURISDICTION: 'eu', METERS: namespace(bound.METERS).objects }
    const made = await create('eu', isolate(there))
    expect([made.status, ((await made.json()) as { data: Tenant }).data.region]).toEqual([201, 'eu'])
    const signedUp = await isolate().ask('POST', '/api/v1/tenants/onboarding/public', {
      body: { name: 'R', slug: slug(), email: someone(), password: PASSWORD, region: 'eu' },
    })
    expect(signedUp.status).toBe(422)
    expect((await create('weur', isolate({ DATA_JURISDICTION: 'mars' }))).status).toBe(500)
  })

  it('is no jurisdiction where the runtime has none, whatever the setting says', async () => {
    const answer = await create('eu', isolate({ DATA_JURISDICTION: 'eu' }))
    expect(answer.status).toBe(422)
    const { error } = (await answer.json()) as { error: { details: { fields: Record<string, string> } } }
    expect(error.details.fields.region).toMatch(/can make objects in the jurisdiction eu/)
    expect((await create('weur', isolate({ DATA_JURISDICTION: 'eu' }))).status).toBe(201)
  })
})
