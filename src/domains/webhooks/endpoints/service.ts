import { and, desc, eq, isNull, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { keepWatch } from '../../../data/outbox'
import { type Page, pageOf } from '../../../data/page'
import { find, type Revision, removal, revise } from '../../../data/revise'
import { sealedIn } from '../../../data/sealed'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { refusalOfUrl } from '../../../lib/safe-url'
import { refuseUnknownTypes } from '../../events/types/service'
import { stands } from '../applications/service'
import { cancel, hold, release } from '../deliveries/hold'
import { reorder } from '../deliveries/order'
import { stopEndpoint } from '../deliveries/wake'
import { checkTemplates } from './header-secrets'
import { maskHeaders, sealedAsBefore, storeHeaders } from './headers'
import type { CreateEndpoint, Endpoint, ListEndpoints, UpdateEndpoint } from './schema'
import { bound, makeSecret, sealFor } from './secret'
import { type EndpointRow, endpoints } from './table'

type Seen = Endpoint & Pick<EndpointRow, 'version' | 'metadata' | 'rate_limit'>

sealedIn(
  ...['secrets', 'headers'].map((column) => ({
    ...{ purpose: 'endpoint', table: 'endpoints', column, key: ['tenant_id', 'id'], json: true as const },
    bound: (tenantId = '', id = '') => bound(tenantId, id),
  })),
)

/** How often another id is tried when the last six digits are taken; in a tenant of 1,000 endpoints one in 16,000 is. */
const ID_ATTEMPTS = 5

/** What an endpoint is given besides what its own routes take: by an application, and by Svix's clients. */
export type Given = {
  set: Pick<EndpointRow, 'metadata' | 'rate_limit'> & { application_id: string }
  secret?: string | undefined
}

/**
 * Makes an endpoint, of an application where one is given; the answer holds its signing secret, this once. 422 for a URL
 * that may not be called.
 */
export async function createEndpoint(
  ctx: Context,
  input: CreateEndpoint,
  given?: Given,
): Promise<Seen & { secret: string }> {
  await checkUrl(ctx, input.url)
  await refuseUnknownTypes(ctx, input.event_types)
  for (let attempt = 1; ; attempt++) {
    const tailTaken = problem('conflict', 'No free id was found; try again')
    try {
      return await insertEndpoint(ctx, newId(ctx.now), input, tailTaken, given)
    } catch (error) {
      if (error !== tailTaken || attempt === ID_ATTEMPTS) throw error
    }
  }
}

async function insertEndpoint(
  ctx: Context,
  id: string,
  input: CreateEndpoint,
  tailTaken: Problem,
  given?: Given,
) {
  const secret = given?.secret ?? makeSecret()
  const headers = await storeHeaders(ctx, id, input.headers)
  await checkTemplates(ctx, input.url, headers)
  const row: EndpointRow = {
    ...input,
    tenant_id: ctx.tenant.id,
    id,
    tail: id.slice(-6),
    event_types: [...new Set(input.event_types)],
    channels: [...new Set(input.channels)],
    headers,
    secrets: [{ sealed: await sealFor(ctx, id, secret), expires_at: null }],
    not_before: null,
    application_id: null,
    metadata: {},
    version: 1,
    created_at: iso(ctx.now),
    updated_at: iso(ctx.now),
    ...given?.set,
  }
  return commit(ctx, {
    statements: [
      ...(given ? [stands(ctx, given.set.application_id)] : []),
      ctx.db.insert(endpoints).values(row),
    ],
    audit: { action: 'endpoint.create', resource: 'endpoint', resource_id: id, after: shown(row) },
    unique: { 'endpoints.tail': tailTaken, ...uidTaken(input.uid) },
    result: { ...view(row), secret },
    secret: true,
  })
}

/** The tenant's endpoints, newest first. */
export async function listEndpoints(ctx: Context, input: ListEndpoints): Promise<Page<Seen>> {
  const { status, uid } = input
  const list = `endpoints:${ctx.tenant.id}:${JSON.stringify([status, uid])}`
  const page = await pageOf(list, input, (after, limit) =>
    ctx.db
      .select()
      .from(endpoints)
      .where(
        and(
          eq(endpoints.tenant_id, ctx.tenant.id),
          status && eq(endpoints.status, status),
          // Within the tenant's own, where a uid means one.
          uid === undefined ? undefined : and(eq(endpoints.uid, uid), isNull(endpoints.application_id)),
          after ? lt(endpoints.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(endpoints.id))
      .limit(limit),
  )
  return { ...page, items: page.items.map(view) }
}

export async function getEndpoint(ctx: Context, id: string): Promise<Seen> {
  return view(await existing(ctx, id))
}

type Update = Omit<UpdateEndpoint, 'status'> & {
  [K in 'status' | 'metadata']?: EndpointRow[K] | undefined
}

/** Changes an endpoint, as it stands; what is under way for it goes to the new URL, with the new headers. */
export function updateEndpoint(
  ctx: Context,
  id: string,
  input: UpdateEndpoint | ((row: EndpointRow) => Update),
): Promise<Seen> {
  return change(ctx, id, 'endpoint.update', async (row) => {
    const { headers, ...plain } = defined(typeof input === 'function' ? input(row) : input)
    const { url = row.url } = plain
    if (plain.url !== undefined) await checkUrl(ctx, url)
    if (plain.event_types !== undefined) await refuseUnknownTypes(ctx, plain.event_types)
    const stored = headers ? await storeHeaders(ctx, id, headers, row.headers) : row.headers
    await checkTemplates(ctx, url, stored, row)
    if (new URL(url).host !== new URL(row.url).host) refuseLed(sealedAsBefore(stored, row.headers))
    // Another receiver did not ask to be left alone.
    const gate = url === row.url ? {} : { not_before: null }
    return { ...plain, ...gate, headers: stored }
  })
}

/** A credential is not led to another host by who does not know it. */
function refuseLed(headers: readonly string[]): void {
  const why = 'must be sent again, since the url leads to another host'
  if (headers.length > 0)
    throw problem.invalid(Object.fromEntries(headers.map((name) => [`headers.${name}`, why])))
}

/** The endpoint takes events again; what was held is sent. */
export function enableEndpoint(ctx: Context, id: string): Promise<Seen> {
  return change(ctx, id, 'endpoint.enable', () => ({ status: 'active' }))
}

/** Its events are held, not sent and not dropped, until it is enabled. */
export function pauseEndpoint(ctx: Context, id: string): Promise<Seen> {
  return change(ctx, id, 'endpoint.pause', () => ({ status: 'paused' }))
}

/** Deletes an endpoint and cancels what is under way for it; its deliveries can still be read. */
export function deleteEndpoint(ctx: Context, id: string): Promise<undefined>
export function deleteEndpoint<T>(ctx: Context, id: string, result: T): Promise<T>
export async function deleteEndpoint<T>(ctx: Context, id: string, result?: T): Promise<T | undefined> {
  const deleted = await commit(ctx, {
    statements: [removal(ctx, endpoints, 'endpoint', id), ...cancel(ctx, id)],
    audit: { action: 'endpoint.delete', resource: 'endpoint', resource_id: id },
    result,
  })
  await stopEndpoint(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: id })
  return deleted
}

/** The endpoint's row; 404 where this tenant has none of that id. */
export async function existing(ctx: Context, id: string): Promise<EndpointRow> {
  const row = await find(ctx, endpoints, id)
  if (!row) throw problem.notFound('endpoint', id)
  return row
}

/**
 * The one way an endpoint changes. Where its status does, its open deliveries are held or released in the same batch,
 * and its object is told.
 */
export async function change(
  ctx: Context,
  id: string,
  action: string,
  decide: (row: EndpointRow) => Partial<EndpointRow> | Promise<Partial<EndpointRow>>,
): Promise<Seen> {
  await keepWatch(ctx.env, ctx.now)
  const row = await revise(
    ctx,
    endpoints,
    'endpoint',
    id,
    async (before) => {
      const decided = await decide(before)
      const starts = decided.status === 'active' && before.status !== 'active'
      const set = starts ? { ...decided, not_before: null } : decided
      const after = { ...before, ...set }
      const revision: Revision<EndpointRow> = {
        set,
        audit: {
          ...{ action, resource: 'endpoint', resource_id: id },
          ...{ before: shown(before), after: shown(after) },
        },
        unique: uidTaken(after.uid),
      }
      const places = after.ordered === before.ordered ? [] : reorder(ctx, id, after.ordered)
      if (after.status === before.status) return { ...revision, statements: places }
      const moves = after.status === 'active' ? release(ctx, id) : hold(ctx, id)
      return { ...revision, statements: [...places, ...moves] }
    },
    view,
  )
  await stopEndpoint(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: id })
  return view(row)
}

/** 422, naming `url`, where a tenant may not have that called. */
export async function checkUrl(ctx: Context, url: string): Promise<void> {
  const refusal = await refusalOfUrl(url, ctx.settings)
  if (refusal) throw problem.invalid({ url: refusal })
}

const uidTaken = (uid: string | null) => ({
  'endpoints.uid': problem('already_exists', `An endpoint with the uid "${uid}" exists`),
})

/** As it is shown: without its secrets. */
export const view = (row: EndpointRow): Seen => ({ ...row, headers: maskHeaders(row.headers) })

/** As the audit log keeps it: what was asked for, without secrets. */
const shown = (row: EndpointRow): Record<string, unknown> => {
  const { tenant_id, id, tail, secrets, not_before, version, created_at, updated_at, ...asked } = row
  return { ...asked, headers: maskHeaders(row.headers) }
}
