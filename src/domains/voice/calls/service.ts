import { and, asc, eq, gt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { getAgent } from '../../chat/agents/service'
import { fileOf, filesThere } from '../../files/keeping'
import { signedUrl } from '../../files/signing'
import { untilSettled } from '../../webhooks/incoming/heard'
import { appliedEach } from './change'
import { listCalls } from './list'
import { placedCalls } from './place'
import { callProviderOf, type EndedReason, providerNamed } from './port'
import type { CallView, ListCalls, ListTurns, PlaceCall } from './schema'
import { type CallRow, type CallTurnRow, calls, callTurns } from './table'
import { hasEnded } from './transition'
import { wakeCalls } from './wake'

/** How long the URL of a recording plays it. */
const SIGNED_SECONDS = 900

type Seen = CallView & { version: number }

/** Has an agent call somebody; it is on its way when this answers. 409 `insufficient_credit`, 422 naming the field. */
export async function placeCall(ctx: Context, input: PlaceCall): Promise<Seen> {
  const most = ctx.settings.CALL_MAX_MINUTES * 60
  if ((input.max_duration_seconds ?? 0) > most)
    throw problem.invalid({ max_duration_seconds: `must be at most ${most}, the operator’s limit` })
  const provider = await callProviderOf(ctx)
  const agent = await agentFor(ctx, input.agent_id)
  const [from, refusal] = await Promise.all([
    provider.callerNumber(ctx, input.from),
    provider.refusal?.(ctx, agent),
  ])
  if (refusal) throw problem.invalid({ agent_id: refusal })
  const { max_duration_seconds, ...asked } = input
  const call = { ...asked, from, ...(max_duration_seconds === undefined ? {} : { max_duration_seconds }) }
  const { rows, statements, events, after } = placedCalls(ctx, provider, [call])
  const [row] = rows
  if (!row) throw new Error('no call was placed')
  const view = await viewOf(ctx, row)
  await commit(ctx, {
    ...{ statements, events, result: view },
    audit: {
      ...{ action: 'call.create', resource: 'call', resource_id: row.id },
      after: { agent_id: row.agent_id, to: row.to, from: row.from, provider: row.provider },
    },
  })
  ctx.defer(after())
  return view
}

async function agentFor(ctx: Context, id: string) {
  const agent = await getAgent(ctx, id).catch(() => null)
  if (agent?.is_active) return agent
  throw problem.invalid({ agent_id: 'must be an active agent of yours; GET /api/v1/agents lists them' })
}

/** The tenant's calls, newest first. */
export async function pageOfCalls(ctx: Context, input: ListCalls): Promise<Page<Seen>> {
  const { items, next_cursor } = await listCalls(ctx, input)
  return { items: await viewsOf(ctx, items), next_cursor }
}

/** 404. */
export const getCall = async (ctx: Context, id: string): Promise<Seen> => viewOf(ctx, await read(ctx, id))

async function read(ctx: Context, id: string): Promise<CallRow> {
  const row = await find(ctx, calls, id)
  if (!row) throw problem.notFound('call', id)
  return row
}

/** What was said in a call, in its order. 404. */
export async function listTurns(ctx: Context, id: string, input: ListTurns) {
  await read(ctx, id)
  const page = await pageOf(
    `call-turns:${ctx.tenant.id}:${id}`,
    input,
    async (after, limit) => {
      const rows = await ctx.db
        .select()
        .from(callTurns)
        .where(
          and(
            eq(callTurns.tenant_id, ctx.tenant.id),
            eq(callTurns.call_id, id),
            after ? gt(callTurns.position, Number(after.key)) : undefined,
          ),
        )
        .orderBy(asc(callTurns.position))
        .limit(limit)
      return rows.map((row): CallTurnRow & { id: string } => ({ ...row, id: String(row.position) }))
    },
    ({ position }) => position,
  )
  return page
}

/** A URL that plays the recording to whoever has it, for a quarter of an hour. 404 where there is none (yet). */
export async function getRecording(ctx: Context, id: string) {
  const row = await read(ctx, id)
  const file = row.recording_file_id === null ? null : await fileOf(ctx, row.recording_file_id)
  const isAwaited = !hasEnded(row) || row.recording === 'pending'
  if (!file)
    throw problem(
      'not_found',
      `The call ${id} has no recording${isAwaited ? ' yet' : row.recording === 'kept' ? ' any more' : ''}`,
      { details: { resource: 'recording', id, status: row.status } },
    )
  const { content_type, size } = file
  return { ...(await signedFor(ctx, file.id)), content_type, size, file_id: file.id }
}

async function signedFor(ctx: Context, fileId: string) {
  const expires = Math.floor(ctx.now / 1000) + SIGNED_SECONDS
  const url = await signedUrl(ctx.settings, {
    ...{ method: 'GET' as const, tenant_id: ctx.tenant.id, id: fileId, expires },
  })
  return { url, expires_at: iso(expires * 1000) }
}

/**
 * Ends a call: at once here, whatever its provider does; it is told until it has heard. One that was answered is
 * `completed`, any other `failed`. 404, 409 where it has ended, 412.
 */
export async function endCall(ctx: Context, id: string): Promise<Seen> {
  const { view, after } = await untilSettled(async () => {
    const call = await read(ctx, id)
    if (ctx.ifMatch !== undefined && ctx.ifMatch !== call.version)
      throw problem('precondition_failed', 'The call has changed since it was read')
    if (hasEnded(call))
      throw problem('conflict', `The call is ${call.status} already`, { details: { status: call.status } })
    const { rows, after, ...change } = await appliedEach(ctx, [endingOf(call)])
    const [row] = rows
    if (!row) throw new Error('a call that goes on was not ended')
    const view = await viewOf(ctx, row)
    await commit(ctx, {
      // The URL of a recording needs no credential.
      ...{ ...change, result: view, secret: true },
      audit: {
        ...{ action: 'call.end', resource: 'call', resource_id: id },
        before: { status: call.status },
        after: { status: row.status },
      },
    })
    return { view, after }
  })
  ctx.defer(after())
  ctx.defer(wakeCalls(ctx.env, ctx.tenant.id))
  return view
}

function endingOf(call: CallRow) {
  const isAnswered = call.status === 'in_progress'
  const ended_reason: EndedReason = isAnswered ? 'ended_by_request' : 'cancelled'
  const status = isAnswered ? ('completed' as const) : ('failed' as const)
  const hang_up = call.asked_at !== null && providerNamed(call.provider)?.local !== true
  return { call, report: { status, ended_reason }, set: { hang_up } }
}

async function viewOf(ctx: Context, row: CallRow): Promise<Seen> {
  const [view] = await viewsOf(ctx, [row])
  return view as Seen
}

async function viewsOf(ctx: Context, rows: readonly CallRow[]): Promise<Seen[]> {
  const there = await filesThere(
    ctx,
    rows.flatMap(({ recording_file_id }) => recording_file_id ?? []),
  )
  return Promise.all(
    rows.map(async (row) => {
      const { recording_file_id: file, ended_reason } = row
      return {
        ...row,
        ended_reason: ended_reason as EndedReason | null,
        recording_url: file !== null && there.has(file) ? (await signedFor(ctx, file)).url : null,
      }
    }),
  )
}
