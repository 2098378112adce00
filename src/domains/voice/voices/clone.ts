import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { Problem, problem } from '../../../lib/problem'
import { type Due, jobKind, type Step } from '../../jobs/kinds'
import { accountOf } from './account'
import { samplesOf } from './samples'
import { speechOf } from './speech/choose'
import { type VoiceRow, voices } from './table'

type Input = { voice_id: string; provider: VoiceRow['provider']; own: boolean }
type State = { asked: boolean; tries: number }
type Done = Step<State>

/** A provider that is away is asked again for some two hours. */
const MOST_TRIES = 30
const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 300_000
/** Anything else that fails so often in a row has the voice given up. */
const MOST_FAILURES = 6

/** Has a provider make a clone: once, however often a step is repeated, for its clones are looked through first. */
export const cloning = jobKind<Input, State>({
  name: 'voices.clone',
  scope: 'voices:write',
  step: stepOf,
  cancelled: async (ctx, { voice_id }) => ({
    statements: [marked(ctx, voice_id, { status: 'failed', error: 'was cancelled' })],
  }),
})

/** Nothing was asked yet; from the next step on, something may have been. */
export const NOT_ASKED: Done = {
  ...{ state: { asked: false, tries: 0 }, progress: 0, result: {}, done: false },
}

async function stepOf(ctx: Context, { input, state, failures }: Due<Input, State>): Promise<Done> {
  const voice = await find(ctx, voices, input.voice_id)
  try {
    if (!voice) return await undone(ctx, input)
    // Written down before anything is asked, so that whoever finds it asks first what came of it.
    if (!state.asked) return { ...NOT_ASKED, state: { ...state, asked: true }, progress: 10 }
    return made(ctx, voice, (await madeBefore(ctx, voice)) ?? (await make(ctx, voice)))
  } catch (error) {
    const away = error instanceof Problem && error.retryable
    if (away && state.tries < MOST_TRIES) return later(state, error)
    if (!(error instanceof Problem) && failures + 1 < MOST_FAILURES) throw error
    return voice ? givenUp(ctx, voice, error) : ended({ status: 'deleted' })
  }
}

/** Again, and not before the provider wants to be asked. */
function later({ tries }: State, { headers, message }: Problem): Done {
  const asked = Number(headers['Retry-After'] ?? 0) * 1000
  const wait_ms = Math.min(Math.max(FIRST_WAIT_MS * 2 ** tries, asked), LONGEST_WAIT_MS)
  const state = { asked: true, tries: tries + 1 }
  return { state, progress: 10, result: { status: 'queued', error: message }, done: false, wait_ms }
}

const nameOf = (ctx: Context, voice_id: string) => ({ tenant_id: ctx.tenant.id, voice_id })

async function madeBefore(ctx: Context, voice: VoiceRow): Promise<string | undefined> {
  const speech = speechOf(ctx, await accountOf(ctx, voice))
  const [found] = await speech.clones(nameOf(ctx, voice.id))
  return found
}

async function make(ctx: Context, voice: VoiceRow): Promise<string> {
  const samples = await samplesOf(ctx, voice.file_ids)
  const speech = speechOf(ctx, await accountOf(ctx, voice))
  return speech.clone(nameOf(ctx, voice.id), voice.name, samples)
}

function made(ctx: Context, voice: VoiceRow, provider_voice_id: string): Done {
  return {
    ...ended({ status: 'ready' }),
    change: {
      statements: [
        {
          statement: marked(ctx, voice.id, { status: 'ready', error: null, provider_voice_id }),
          // Tried again, and then it is seen that it was deleted.
          otherwise: problem('service_unavailable', 'The voice was deleted meanwhile'),
        },
      ],
    },
  }
}

function givenUp(ctx: Context, voice: VoiceRow, cause: unknown): Done {
  const error =
    cause instanceof Problem ? cause.message : 'could not be made; the operator finds the cause in the log'
  return {
    ...ended({ status: 'failed', error }),
    change: { statements: [marked(ctx, voice.id, { status: 'failed', error })] },
  }
}

/** The voice was deleted while it was made: so is what the provider made. */
async function undone(ctx: Context, input: Input): Promise<Done> {
  const speech = speechOf(ctx, await accountOf(ctx, input))
  for (const id of await speech.clones(nameOf(ctx, input.voice_id))) await speech.remove(id)
  return ended({ status: 'deleted' })
}

const ended = (result: Record<string, unknown>): Done => ({
  ...{ state: { asked: true, tries: 0 }, progress: 100, done: true, result },
})

/** Not async: it belongs into a batch. */
const marked = (ctx: Context, id: string, set: Partial<VoiceRow>) =>
  ctx.db
    .update(voices)
    .set({ ...set, updated_at: iso(Date.now()), version: sql`version + 1` })
    .where(and(eq(voices.tenant_id, ctx.tenant.id), eq(voices.id, id)))
