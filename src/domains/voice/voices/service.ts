import { sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { jobStarted } from '../../jobs/service'
import { accountFor, cloningAccount } from './account'
import { cloning, NOT_ASKED } from './clone'
import { removing, toRemove } from './remove'
import { checkSamples } from './samples'
import type { CreateClone, CreateExternal, CreateVoice, ListVoices, UpdateVoice } from './schema'
import { speechOf } from './speech/choose'
import { type VoiceRow, voices } from './table'

/** Clones of a tenant in the operator's account, which has places for so many and no more. */
const MOST_OPERATORS_CLONES = 50

/** Has a voice cloned, or takes up one that a provider has. 409 without an account, 422. */
export function createVoice(ctx: Context, input: CreateVoice): Promise<VoiceRow> {
  return input.kind === 'clone' ? createClone(ctx, input) : createExternal(ctx, input)
}

async function createClone(ctx: Context, input: CreateClone): Promise<VoiceRow> {
  const [account] = await Promise.all([cloningAccount(ctx), checkSamples(ctx, input.file_ids)])
  const { name: provider, own } = account
  const begun = newVoice(ctx, input, provider as VoiceRow['provider'], own)
  const job = jobStarted(ctx, cloning, { voice_id: begun.id, provider: begun.provider, own }, NOT_ASKED)
  const row: VoiceRow = { ...begun, file_ids: input.file_ids, job_id: job.job.id }
  const room = {
    holds: sql`not exists (select 1 from voices where tenant_id = ${ctx.tenant.id} and own = 0 and kind = 'clone' limit 1 offset ${MOST_OPERATORS_CLONES - 1})`,
    otherwise: problem(
      'conflict',
      `A tenant has at most ${MOST_OPERATORS_CLONES} clones in the operator’s account; delete one, or use an account of your own`,
    ),
  }
  const made = await commit(ctx, {
    statements: [...(own ? [] : [room]), ctx.db.insert(voices).values(row), ...job.statements],
    events: job.events,
    audit: audit('create', row.id, { after: shown(row) }),
    result: row,
  })
  ctx.defer(job.after())
  return made
}

async function createExternal(ctx: Context, input: CreateExternal): Promise<VoiceRow> {
  const { provider, provider_voice_id } = input
  const account = await accountFor(ctx, provider)
  const found = await speechOf(ctx, account).look(provider_voice_id)
  if (!found) throw problem.invalid({ provider_voice_id: `must be a voice that ${provider} has` })
  // What the operator’s account has for others is nobody else’s.
  if (!account.own && !found.shared)
    throw problem.invalid({
      provider_voice_id: 'must be a voice that is everybody’s, or of an account of your own',
    })
  const row: VoiceRow = { ...newVoice(ctx, input, provider, account.own), provider_voice_id, status: 'ready' }
  return commit(ctx, {
    statements: [ctx.db.insert(voices).values(row)],
    audit: audit('create', row.id, { after: shown(row) }),
    result: row,
  })
}

function newVoice(
  ctx: Context,
  { name, kind, language }: CreateVoice,
  provider: VoiceRow['provider'],
  own: boolean,
): VoiceRow {
  const now = iso(ctx.now)
  return {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), name, kind, language, provider, own },
    ...{ provider_voice_id: null, status: 'queued', error: null, file_ids: [], job_id: null },
    ...{ version: 1, created_at: now, updated_at: now },
  }
}

/** The tenant's voices, newest first. */
export function listVoices(ctx: Context, input: ListVoices): Promise<Page<VoiceRow>> {
  return newest(ctx, voices, input, {}, { kind: input.kind, status: input.status })
}

export async function getVoice(ctx: Context, id: string): Promise<VoiceRow> {
  const row = await find(ctx, voices, id)
  if (!row) throw problem.notFound('voice', id)
  return row
}

/** Changes what a voice is called here, and what it speaks; at its provider nothing changes. 404, 412. */
export function updateVoice(ctx: Context, id: string, input: UpdateVoice): Promise<VoiceRow> {
  return revise(ctx, voices, 'voice', id, (before) => {
    const set = defined(input)
    return { set, audit: audit('update', id, { before: shown(before), after: shown({ ...before, ...set }) }) }
  })
}

/**
 * Deletes a voice: agents that had it go on without. A clone is deleted at its provider by a job, which asks again while
 * that is away. 404, 412.
 */
export async function deleteVoice(ctx: Context, id: string): Promise<undefined> {
  const row = await getVoice(ctx, id)
  const { kind, provider, own, provider_voice_id } = row
  const input = { voice_id: id, kind, provider, own, provider_voice_id }
  const job = jobStarted(ctx, removing, input, toRemove(ctx))
  await commit(ctx, {
    statements: [removal(ctx, voices, 'voice', id), ...job.statements],
    events: job.events,
    audit: audit('delete', id, { before: shown(row) }),
    result: undefined,
  })
  ctx.defer(job.after())
}

const audit = (verb: string, id: string, change: { before?: object; after?: object }) => ({
  ...{ action: `voice.${verb}`, resource: 'voice', resource_id: id },
  ...(change as { before?: Record<string, unknown>; after?: Record<string, unknown> }),
})

const shown = ({ name, kind, language, provider, provider_voice_id }: VoiceRow) => ({
  ...{ name, kind, language, provider, provider_voice_id },
})
