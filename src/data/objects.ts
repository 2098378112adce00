import { eq } from 'drizzle-orm'
import { tenants } from '../domains/tenancy/tenants/table'
import { type Bindings, settingsOf } from '../env'
import { isJurisdiction, type Jurisdiction, type Region } from '../lib/regions'
import { directory } from './database'

// The one way to a tenant's Durable Objects. Its region says where they are made, and a jurisdiction is part of what an
// object is: who asked for one without it would get another. A region never changes, so it is remembered for good.

type AnyObject = Rpc.DurableObjectBranded | undefined

/** About 100 bytes each. */
const MOST = 20_000

const memories = new WeakMap<object, Map<string, string | null>>()

function memoryOf(env: object): Map<string, string | null> {
  let memory = memories.get(env)
  if (!memory) {
    memory = new Map()
    memories.set(env, memory)
  }
  return memory
}

/** Has this isolate remember the region of a tenant that was read anyway. */
export function knowRegion(env: object, tenantId: string, region: string | null): void {
  const memory = memoryOf(env)
  if (memory.size >= MOST) memory.clear()
  memory.set(tenantId, region)
}

/** The object called `name` of a tenant, in the tenant's region. */
export async function objectOf<T extends AnyObject>(
  env: Pick<Bindings, 'DB'>,
  namespace: DurableObjectNamespace<T>,
  tenantId: string,
  name: string,
): Promise<DurableObjectStub<T>> {
  const known = memoryOf(env).get(tenantId)
  const region = known === undefined ? await readRegion(env as Bindings, tenantId) : known
  if (region === null) return namespace.getByName(name)
  if (isJurisdiction(region)) return namespace.jurisdiction(region).getByName(name)
  return namespace.getByName(name, { locationHint: region as Exclude<Region, 'eu'> })
}

/** Throws where an object is asked to be another than its name says: a name carries the tenant. */
export function demandName({ id }: Pick<DurableObjectState, 'id'>, name: string): void {
  if (id.name !== name) throw new Error(`the object ${id.name} was taken for ${name}`)
}

/** Whether the runtime can make objects in a jurisdiction; workerd by itself, and so `wrangler dev`, can't. */
export function hasJurisdiction({ METERS }: Pick<Bindings, 'METERS'>, jurisdiction: Jurisdiction): boolean {
  try {
    METERS.jurisdiction(jurisdiction)
    return true
  } catch {
    return false
  }
}

async function readRegion(env: Bindings, tenantId: string): Promise<string | null> {
  try {
    const row = await directory(env)
      .select({ region: tenants.region })
      .from(tenants)
      .where(eq(tenants.id, tenantId))
      .get()
    if (row) knowRegion(env, tenantId, row.region)
    return row?.region ?? null
  } catch (error) {
    // A hint counts when an object is made, and can be missed; a jurisdiction can't.
    if (settingsOf(env).DATA_JURISDICTION !== '') throw error
    return null
  }
}

/** The Meter of a tenant; its name is the tenant's id. */
export const meterOf = (env: Pick<Bindings, 'DB' | 'METERS'>, tenantId: string) =>
  objectOf(env, env.METERS, tenantId, tenantId)
