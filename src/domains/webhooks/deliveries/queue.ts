import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings, EventNudge } from '../../../env'
import { log } from '../../../lib/log'
import { fanOut } from './fan-out'
import { wakeEndpoint } from './wake'

type Waits = Pick<ExecutionContext, 'waitUntil'>

/** Seconds until a nudge that failed is tried again; the sweep may well be earlier. */
const RETRY_S = 5

/** Consumes both queues: nudges that events wait to be dispatched, and the dead letters of those. */
export async function consume(batch: MessageBatch<EventNudge>, env: Bindings, ctx: Waits): Promise<void> {
  if (batch.queue.endsWith('-dead')) recordDead(batch)
  else await consumeNudges(batch, env, ctx)
}

/** Whether a message is one of ours; who it belongs to is asked of D1, by the tenant that it names. */
function isNudge({ body }: Message<unknown>): boolean {
  const { tenant_id, event_id } = (body ?? {}) as Partial<Record<keyof EventNudge, unknown>>
  return typeof tenant_id === 'string' && typeof event_id === 'string'
}

/** Dispatches the events of a batch of nudges, tenant by tenant; those of a tenant that failed come again. */
async function consumeNudges(batch: MessageBatch<EventNudge>, env: Bindings, ctx: Waits): Promise<void> {
  const [nudges, others] = [batch.messages.filter(isNudge), batch.messages.filter((one) => !isNudge(one))]
  // Nobody here sends such a thing, and it would come again and again with the others of its batch.
  for (const message of others) {
    log.error('event_nudge_malformed', { queue: batch.queue, message_id: message.id })
    message.ack()
  }
  const failed = await dispatch(
    env,
    nudges.map((message) => message.body),
    ctx,
  )
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
        const ids = [...new Set(own.map((nudge) => nudge.event_id))]
        const endpoints = await fanOut(system, ids)
        await Promise.all(endpoints.map((endpoint_id) => wakeEndpoint(env, { tenant_id, endpoint_id })))
      } catch (error) {
        failed.add(tenant_id)
        log.error('fan_out_failed', { tenant_id, events: own.length, cause: String(error) })
      }
    }),
  )
  return failed
}

/** The events themselves are in D1 and the sweep dispatches them; this is the record that their nudges failed. */
function recordDead(batch: MessageBatch<EventNudge>): void {
  for (const { id, attempts, body } of batch.messages)
    log.error('event_nudge_dead', {
      queue: batch.queue,
      message_id: id,
      attempts,
      tenant_id: body?.tenant_id,
      event_id: body?.event_id,
    })
  batch.ackAll()
}
