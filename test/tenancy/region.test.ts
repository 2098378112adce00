import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { knowRegion, meterOf, objectOf } from '../../src/data/objects'
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
    const [meters, chats, endpoints] = [env.METERS, env.CHATS, env.ENDPOINTS].map((real) =>
      namespace(real as unknown as DurableObjectNamespace),
    )
    const here = isolate({
      ...{ METERS: meters?.objects, CHATS: chats?.objects, ENDPOINTS: endpoints?.objects },
    })
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
    await meterOf(here.bindings, world.tenant.id)
    expect(endpoints?.reached).toEqual([])
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
    const made = await create('eu', isolate({ DATA_JURISDICTION: 'eu' }))
    expect([made.status, ((await made.json()) as { data: Tenant }).data.region]).toEqual([201, 'eu'])
    const signedUp = await isolate().ask('POST', '/api/v1/tenants/onboarding/public', {
      body: { name: 'R', slug: slug(), email: someone(), password: PASSWORD, region: 'eu' },
    })
    expect(signedUp.status).toBe(422)
    expect((await create('weur', isolate({ DATA_JURISDICTION: 'mars' }))).status).toBe(500)
  })
})
