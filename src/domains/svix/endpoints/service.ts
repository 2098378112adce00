import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { missingTypes } from '../../events/types/noted'
import type { Ref } from '../../webhooks/applications/service'
import { endpointOf, findEndpointOf } from '../../webhooks/endpoints/of-application'
import { CreateEndpoint } from '../../webhooks/endpoints/schema'
import { createEndpoint, updateEndpoint } from '../../webhooks/endpoints/service'
import type { EndpointRow } from '../../webhooks/endpoints/table'
import { refuseMatch, showing } from '../showing'
import { prefixed } from '../wire'
import type { EndpointIn, EndpointPatch, EndpointPut } from './schema'

type Columns = 'id' | 'url' | 'description' | 'rate_limit' | 'uid' | 'status' | 'event_types' | 'channels'
type Row = Pick<EndpointRow, Columns | 'metadata' | 'created_at' | 'updated_at' | 'version'>

/** What takes every type here is said by leaving them out there. */
const EVERY = ['*']

/** An endpoint as Svix's clients see it; `made` where the request made it, which is 201. */
export function endpointOut(row: Row, made = false) {
  const eventTypes = row.event_types.includes('*') ? null : row.event_types
  return {
    ...{ id: prefixed('ep', row.id), uid: row.uid, url: row.url, description: row.description },
    ...{ throttleRate: row.rate_limit, rateLimit: row.rate_limit, version: row.version },
    disabled: row.status === 'paused' || row.status === 'disabled',
    ...{ eventTypes, filterTypes: eventTypes, channels: row.channels.length > 0 ? row.channels : null },
    ...{ metadata: row.metadata, createdAt: row.created_at, updatedAt: row.updated_at, made },
  }
}

type Shown = ReturnType<typeof endpointOut>

const plain = (row: Row) => endpointOut(row)
const asMade = (row: Row) => endpointOut(row, true)

/** Makes an endpoint of the application; 422 for event types that there are not. */
export async function makeEndpoint(ctx: Context, applicationId: string, input: EndpointIn): Promise<Shown> {
  const { url, uid, description, disabled, event_types, channels, ...set } = await columnsOf(ctx, input)
  const own = CreateEndpoint.parse({
    ...{ url, uid, description, event_types, channels },
    status: disabled ? 'paused' : 'active',
    // As Svix sends it: the payload alone, signed under its own names.
    ...{ payload: 'data', signature_profile: 'svix', headers: input.headers ?? {} },
  })
  const given = { set: { application_id: applicationId, ...set }, secret: input.secret ?? undefined }
  return asMade(await createEndpoint(showing(ctx, asMade), own, given))
}

/** Changes the endpoint as a whole, or makes the one of that uid. A uid that is left out stays the one it is called by. */
export async function putEndpoint(
  ctx: Context,
  applicationId: string,
  ref: Ref,
  input: EndpointPut,
): Promise<Shown> {
  const known = await findEndpointOf(ctx, applicationId, ref)
  const named = { ...input, uid: input.uid ?? ('uid' in ref ? ref.uid : null) }
  if (!known) refuseMatch(ctx, 'endpoint')
  if (!known && 'id' in ref) throw problem.notFound('endpoint', ref.id)
  if (!known) return makeEndpoint(ctx, applicationId, named)
  return set(ctx, known.id, await columnsOf(ctx, named))
}

/** Changes what is sent of an endpoint; null empties. */
export async function patchEndpoint(
  ctx: Context,
  applicationId: string,
  ref: Ref,
  input: EndpointPatch,
): Promise<Shown> {
  const { id, ...row } = await endpointOf(ctx, applicationId, ref)
  const all = await columnsOf(ctx, { ...input, url: input.url ?? row.url })
  const sent = {
    ...('url' in input && { url: all.url }),
    ...('description' in input && { description: all.description }),
    ...('uid' in input && { uid: all.uid }),
    ...('disabled' in input && { disabled: all.disabled }),
    ...('metadata' in input && { metadata: all.metadata }),
    ...('channels' in input && { channels: all.channels }),
    ...(('eventTypes' in input || 'filterTypes' in input) && { event_types: all.event_types }),
    ...(('throttleRate' in input || 'rateLimit' in input) && { rate_limit: all.rate_limit }),
  }
  return set(ctx, id, sent)
}

/** What is sent, as it is kept; refused where a type is none. */
async function columnsOf(ctx: Context, input: EndpointPut) {
  const { url, description = '', uid = null, disabled = false, metadata, channels } = input
  const eventTypes = input.eventTypes ?? input.filterTypes ?? null
  const missing = eventTypes === null ? [] : await missingTypes(ctx, eventTypes)
  if (missing.length > 0)
    throw problem.invalid({
      eventTypes: `has types that do not exist; create them at /api/v1/event-type: ${missing.join(', ')}`,
    })
  return {
    ...{ url, description, uid, disabled, metadata: metadata ?? {}, channels: [...new Set(channels ?? [])] },
    ...{
      event_types: [...new Set(eventTypes ?? EVERY)],
      rate_limit: input.throttleRate ?? input.rateLimit ?? null,
    },
  }
}

type Set = Partial<Awaited<ReturnType<typeof columnsOf>>>

async function set(ctx: Context, id: string, { disabled, ...columns }: Set): Promise<Shown> {
  const row = await updateEndpoint(showing(ctx, plain), id, (before) => ({
    ...columns,
    ...(disabled === undefined ? {} : { status: statusOf(before.status, disabled) }),
  }))
  return plain(row)
}

/** What stands still already goes on doing so in its own way. */
function statusOf(status: EndpointRow['status'], disabled: boolean): EndpointRow['status'] {
  const stopped = status === 'paused' || status === 'disabled'
  if (stopped === disabled) return status
  return disabled ? 'paused' : 'active'
}
