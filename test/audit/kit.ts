import { env } from 'cloudflare:workers'
import { commit } from '../../src/data/commit'
import type { Context } from '../../src/data/context'
import type { Verification } from '../../src/domains/audit/schema'
import { sealTenant } from '../../src/domains/audit/seal'
import { callJson, makeWorld, type World } from '../world'

/** A tenant with an empty log: what its making wrote is gone. */
export async function makeLogless(): Promise<World> {
  const world = await makeWorld()
  await byHand(
    world,
    'delete from audit_log where tenant_id = ?',
    'delete from audit_unsealed where tenant_id = ?',
  )
  return world
}

/** A row as the service writes it, of something that nothing else does. */
export function record(ctx: Context, after: Record<string, unknown> = {}, action = 'thing.change') {
  const audit = { action, resource: action.split('.')[0] ?? '', resource_id: 'thing-1', after }
  return commit(ctx, { statements: [], result: null, audit })
}

/** A tenant's log with rows 1 to `count`, sealed in ranges of the given sizes; what is left over stays unsealed. */
export async function sealedLog(world: World, sizes: number[], unsealed = 0): Promise<void> {
  for (const size of sizes) {
    for (let i = 0; i < size; i++) await record(world.ctx, { i })
    await sealTenant(world.ctx)
  }
  for (let i = 0; i < unsealed; i++) await record(world.ctx, { i })
}

/** What the service says of a tenant's log, from its beginning to its end. */
export async function verify(world: World, cursor?: string) {
  const path = `/api/v1/audit/verify${cursor === undefined ? '' : `?cursor=${cursor}`}`
  const { status, data } = await callJson<Verification>('GET', path, { token: world.admin.token })
  if (status !== 200) throw new Error(`verify: ${status}`)
  return data
}

/** Changes the database by hand, as nobody should: `?` is the tenant. */
export async function byHand(world: World, ...statements: string[]): Promise<void> {
  await env.DB.batch(statements.map((sql) => env.DB.prepare(sql).bind(world.tenant.id)))
}

export async function rows<T = Record<string, unknown>>(sql: string, ...params: unknown[]): Promise<T[]> {
  return (
    await env.DB.prepare(sql)
      .bind(...params)
      .all<T>()
  ).results
}
