import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { EVENT_TYPES } from '../../events/catalogue'
import { sampleOfType } from '../../events/types/service'
import { send, targetOf } from '../deliveries/sending'
import type { TestEndpoint, TestResult } from './schema'
import { existing } from './service'
import { matches } from './subscription'

/** Sends a sample of an event type to the endpoint now, whatever its status, and answers with what came back. */
export async function testEndpoint(ctx: Context, id: string, input: TestEndpoint): Promise<TestResult> {
  const row = await existing(ctx, id)
  const event_type = input.type ?? defaultType(row.event_types)
  const event_id = `msg_${newId(ctx.now)}`
  const message = {
    ...{ event_id, event_type, tenant_id: ctx.tenant.id, timestamp: iso(ctx.now) },
    ...{ data: JSON.stringify(await sampleOfType(ctx, event_type)), trace_id: ctx.traceparent.slice(3, 35) },
  }
  const { attempt } = await send(ctx.settings, await targetOf(ctx, row), message, {
    number: 1,
    begins: Date.now(),
  })
  return { event_id, event_type, delivered: attempt.error === null, attempt }
}

/** A type that the endpoint takes: one of the service's own if it takes any, else the first of the tenant's. */
function defaultType(patterns: readonly string[]): string {
  const builtIn = EVENT_TYPES.find(({ name }) => patterns.some((pattern) => matches(pattern, name)))
  return builtIn?.name ?? patterns[0]?.replace(/\.\*$/, '.test') ?? 'test'
}
