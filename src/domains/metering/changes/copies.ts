import { hear } from '../../../data/changes'
import { copiesOf } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { Remembered } from '../../../lib/remembered'
import type { Told } from '../meter/ledger'

/** While a Meter is silent its copies are read so often. Ten seconds is what is promised (limits.md). */
const FRESH_MS = 4_000
const MAX_MS = 8_000
/** KV answers in milliseconds; beyond this a request goes on with what is known. */
const PATIENCE_MS = 1_000

const readings = new WeakMap<Bindings, Remembered<boolean>>()

/**
 * Brings this isolate what KV's copies say has changed in a tenant, unless it read them lately. KV shows a write within
 * a minute at most, mostly at once; it is there for the moments when the Meter is away. Never rejects.
 */
export async function readCopies(env: Bindings, tenantId: string, now: number): Promise<void> {
  let reading = readings.get(env)
  if (!reading) {
    reading = new Remembered(FRESH_MS, MAX_MS)
    readings.set(env, reading)
  }
  await reading.get(tenantId, now, async () => {
    const read = list(env, tenantId).catch((error: unknown) =>
      log.error('copies_unread', { tenant_id: tenantId, cause: describeError(error) }),
    )
    await Promise.race([read, scheduler.wait(PATIENCE_MS)])
    return true
  })
}

async function list(env: Bindings, tenantId: string): Promise<void> {
  const prefix = copiesOf(tenantId)
  let cursor: string | null = null
  do {
    const page: KVNamespaceListResult<Told[]> = await env.KV.list<Told[]>({ prefix, cursor })
    for (const { name, metadata } of page.keys)
      hear(env, tenantId, metadata ?? (await env.KV.get<Told[]>(name, 'json')) ?? [])
    cursor = page.list_complete ? null : page.cursor
  } while (cursor !== null)
}
