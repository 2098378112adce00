import { allNudged } from '../../../data/sweeping'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings, EventNudge } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { fanOutWork } from './fan-out'
import { paceOf } from './pace'
import type { Handed } from './ready'
import { handTo, wakeEndpoint } from './wake'

type Waits = Pick<ExecutionContext, 'waitUntil'>

/** Longer than this a batch does not wait for endpoints to hear of it: under wrangler dev it is one at a time. */
const PATIENCE_MS = 2_000

/** Events whose deliveries are made by one statement. */
const MOST_EVENTS = 100

/** Seconds until a nudge that failed is tried again; the sweep may well be earlier. */
const RETRY_S = 5

/** Consumes both queues: nudges that events wait to be dispatched, and the dead letters of those. */
export async function consume(batch: MessageBatch<EventNudge>, env: Bindings, ctx: Waits): Promise<void> {
  if (batch.queue.endsWith('-dead')) recordDead(batch)
  else await consumeNudges(batch, env, ctx)
}

/** Whether a message is one of ours; who it belongs to is asked of D1, by the tenant that it names. */
function isNudge({ body }: Message<unknown>): boolean {
  const { tenant_id, event_ids } = (body ?? {}) as Partial<Record<keyof EventNudge, unknown>>
  if (typeof tenant_id !== 'string' || !Array.isArray(event_ids)) return false
  return event_ids.every((id) => typeof id === 'string')
}

/** Dispatches the events of a batch of nudges, tenant by tenant; those of a tenant that failed come again. */
async function consumeNudges(batch: MessageBatch<EventNudge>, env: Bindings, ctx: Waits): Promise<void> {
  const [nudges, others] = [batch.messages.filter(isNudge), batch.messages.filter((one) => !isNudge(one))]
  // Nobody here sends such a thing, and it would come again and again with the others of its batch.
  for (const message of others) {
    log.error('event_nudge_malformed', { queue: batch.queue, message_id: message.id })
    message.ack()
  }
  const bodies = nudges.map((message) => message.body)
  for (const [name, work] of bodies.length > 0 ? allNudged() : [])
    ctx.waitUntil(
      work(env, bodies, ctx).catch((error: unknown) => log.error(name, { cause: describeError(error) })),
    )
  const failed = await dispatch(env, bodies, ctx)
  for (const message of nudges)
    if (failed.has(message.body.tenant_id)) message.retry({ delaySeconds: RETRY_S })
    else message.ack()
}

/** Makes the deliveries of events of any tenants and wakes their endpoints. Answers with the tenants where that failed. */
export async function dispatch(
  env: Bindings,
  nudges: readonly EventNudge[],
  ctx: Waits,
): Promise<Set<string>> {
  const byTenant = Map.groupBy(nudges, (nudge) => nudge.tenant_id)
  const failed = new Set<string>()
  await Promise.all(
    [...byTenant].map(async ([tenant_id, own]) => {
      try {
        const system = systemContext(env, bareTenant(tenant_id), 'fan-out', (work) => ctx.waitUntil(work))
        const ids = [...new Set(own.flatMap((nudge) => nudge.event_ids))]
        const sent: Promise<void>[] = []
        for (let at = 0; at < ids.length; at += MOST_EVENTS)
          sent.push(send(env, tenant_id, await fanOutWork(system, ids.slice(at, at + MOST_EVENTS))))
        await Promise.all(sent)
      } catch (error) {
        failed.add(tenant_id)
        log.error('fan_out_failed', { tenant_id, events: own.length, cause: String(error) })
      }
    }),
  )
  return failed
}

/**
 * Hands endpoints what was made for them just now, as far as the tenant's rate lets it begin; the others look for
 * themselves. One that does not answer holds up nobody for long.
 */
async function send(env: Bindings, tenant_id: string, work: ReadonlyMap<string, Handed>): Promise<void> {
  const wanted = [...work.values()].reduce((sum, { deliveries }) => sum + deliveries.length, 0)
  let { count: left } = wanted > 0 ? await paceOf(env, tenant_id, wanted) : { count: 0 }
  const all = [...work].map(([endpoint_id, handed]) => {
    const endpoint = { tenant_id, endpoint_id }
    const { length } = handed.deliveries
    if (length === 0 || length > left) return wakeEndpoint(env, endpoint)
    left -= length
    return handTo(env, endpoint, handed)
  })
  await Promise.race([Promise.all(all), scheduler.wait(PATIENCE_MS)])
}

/** The events themselves are in D1 and the sweep dispatches them; this is the record that their nudges failed. */
function recordDead(batch: MessageBatch<EventNudge>): void {
  for (const { id, attempts, body } of batch.messages)
    log.error('event_nudge_dead', {
      queue: batch.queue,
      message_id: id,
      attempts,
      tenant_id: body?.tenant_id,
      event_ids: body?.event_ids?.join(),
    })
  batch.ackAll()
}
