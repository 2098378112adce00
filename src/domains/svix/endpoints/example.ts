import * as z from 'zod'
import { commit, eventRow } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { sampleOf } from '../../events/catalogue'
import { insertDispatched } from '../../events/of-application'
import { findType, notesOf } from '../../events/types/noted'
import { insertDelivery } from '../../webhooks/deliveries/fan-out'
import { wakeEndpoint } from '../../webhooks/deliveries/wake'
import type { EndpointRow } from '../../webhooks/endpoints/table'
import { TypeName } from '../event-types/schema'
import { messageOut } from '../messages/service'
import { showing } from '../showing'

const INDEX = 'must be a whole number from 0'

export const ExampleIn = z.object({
  eventType: TypeName,
  exampleIndex: z.int(INDEX).min(0, INDEX).default(0).meta({
    description: 'Which of the `examples` of the type’s schema; the first by default.',
  }),
})

/** Sends one endpoint an example of an event type: a message of the application that goes to no other. */
export async function sendExample(
  ctx: Context,
  endpoint: EndpointRow,
  { eventType: type, exampleIndex }: z.output<typeof ExampleIn>,
) {
  const data = await exampleOf(ctx, type, exampleIndex)
  const id = `msg_${newId(ctx.now)}`
  const application_id = endpoint.application_id ?? ''
  const row = await eventRow(ctx, { id, type, data, application_id, occurred_at: iso(ctx.now) })
  const event = { id, type, origin: null, channels: [], tags: null, timestamp: iso(ctx.now) }
  const show = () => messageOut(event, data)
  await commit(showing(ctx, show), {
    statements: [
      insertDispatched(ctx, row),
      {
        statement: insertDelivery(ctx, id, endpoint.id),
        otherwise: problem.notFound('endpoint', endpoint.id),
      },
    ],
    audit: {
      ...{ action: 'endpoint.send_example', resource: 'endpoint', resource_id: endpoint.id },
      after: { event_id: id, event_type: type },
    },
    result: undefined,
  })
  ctx.defer(wakeEndpoint(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: endpoint.id }, true))
  return show()
}

/** An example of the type: of those of its schema's latest version, else its own. */
async function exampleOf(ctx: Context, name: string, index: number): Promise<Record<string, unknown>> {
  const row = await findType(ctx, name)
  if (!row) throw problem.invalid({ eventType: 'must be an event type: create it at /api/v1/event-type' })
  const versions = Object.entries(notesOf(row).schemas ?? {}).sort(([a], [b]) => Number(a) - Number(b))
  const { examples } = (versions.at(-1)?.[1] ?? {}) as { examples?: unknown }
  if (!Array.isArray(examples) || examples.length === 0) return row.example ?? sampleOf(name)
  const { data } = z.record(z.string(), z.unknown()).safeParse(examples[index])
  if (!data)
    throw problem.invalid({ exampleIndex: `must be one of ${examples.length} examples that is an object` })
  return data
}
