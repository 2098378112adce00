import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { PROBLEMS, Problem, type ProblemCode, problem } from '../../../lib/problem'
import { keyOf } from '../../files/store'
import type { Job } from '../../jobs/schema'
import { getJob, startJob } from '../../jobs/service'
import { claimKey } from '../../metering/idempotency/service'
import { relinked, windowOf } from '../interactions/linking'
import { registration, serviceEnabled } from '../interactions/register'
import { type Shown, shown } from '../interactions/rows'
import type { Done, Said } from '../interactions/schema'
import { createInteraction, findInteraction } from '../interactions/service'
import { transcriberOf } from '../transcription/choose'
import type { Transcriber, Transcript } from '../transcription/transcriber'
import { MAX_AT_ONCE } from './audio'
import { heard } from './heard'
import { transcribing } from './job'
import type { Given } from './schema'
import { recordingOf, type Taken, takeSent, takeUploaded } from './take'

/** How long the caller of a short recording waits for its text. */
const PATIENCE_MS = 30_000
/** What may pass between the end of that and its being kept for a repeat; so long a repeat is asked to come later. */
const KEEPING_MS = 5_000
/** How often a job that is waited for is looked at. */
const LOOK_MS = 200

/** How a recording is to be taken: after the answer, or with an answer that waits so many seconds for it. */
export type Wanted = { async: boolean; wait: number | undefined }

/** What a request asks for; RFC 7240 has preferences in a list, each perhaps with parameters. */
export function wantedIn(prefer: string | undefined, wait: number | undefined): Wanted {
  const all = (prefer ?? '').split(',').map((one) => one.split(';')[0]?.trim().toLowerCase())
  return { async: all.includes('respond-async'), wait }
}

/**
 * Registers something said or done, and what a recording of it says. A short one is transcribed before the answer, another
 * by a job, with which it is answered; with `wait` the answer waits for that, and is 504 when the time is over.
 */
export async function register(ctx: Context, { input, audio }: Given, wanted: Wanted): Promise<Shown | Job> {
  if ('item_id' in input) return done(ctx, input, audio)
  const { file_id, ...said } = input
  if (audio && file_id !== undefined)
    throw problem.invalid({ file_id: 'must not stand beside audio: one of them is the recording' })
  if (!audio && file_id === undefined) return createInteraction(ctx, said)
  const transcriber = said.text === undefined ? await transcriberOf(ctx) : null
  if (said.text === undefined && !transcriber)
    throw problem.invalid({
      text: 'must be given: this service transcribes nothing, as its setting TRANSCRIBER is empty, unless you set up a transcriber of your own (PATCH /api/v1/auth/providers/transcriber)',
    })
  // Before anything is kept or heard; the batch asks again.
  await commit({ ...ctx, idempotency: null }, { statements: [serviceEnabled(ctx)], result: undefined })
  const taken = audio ? await takeSent(ctx, audio) : await takeUploaded(ctx, file_id ?? '')
  return made(ctx, said, taken, wanted, transcriber).catch((refusal: unknown) => {
    // Only what was refused stands nowhere: after any other failure the row may name it.
    if (refusal instanceof Problem && taken.isNew && !(refusal instanceof Unheard))
      ctx.defer(ctx.env.FILES.delete(keyOf(taken.file)))
    throw refusal
  })
}

function done(ctx: Context, input: Done, audio: Blob | null): Promise<Shown> {
  if (audio) throw problem.invalid({ audio: 'is of what was said; leave type out' })
  return createInteraction(ctx, input)
}

async function made(
  ctx: Context,
  said: Said,
  taken: Taken,
  { async, wait }: Wanted,
  transcriber: Transcriber | null,
): Promise<Shown | Job> {
  const { text } = said
  if (text !== undefined || !transcriber) return atOnce(ctx, said, taken, { text: text ?? '', segments: [] })
  if (wait !== undefined) return waitedFor(ctx, said, taken, wait)
  if (async || taken.file.size > MAX_AT_ONCE) return later(ctx, said, taken)
  // What is heard costs something, and of two requests with one key one has it heard.
  if (ctx.idempotency) await claimKey(ctx, ctx.idempotency)
  const asked = { until: Date.now() + PATIENCE_MS, traceparent: ctx.traceparent }
  return atOnce(ctx, said, taken, await transcriber(await recordingOf(ctx, taken.file), asked))
}

/** Keeps a recording with what it says. */
function atOnce(
  ctx: Context,
  said: Said,
  { file, statements }: Taken,
  transcript: Transcript,
): Promise<Shown> {
  return relinked(async () => {
    const { rows, begun } = await heard(ctx, said, file.id, transcript, windowOf(ctx))
    const [first] = rows
    if (!first) throw new Error('a recording becomes an interaction at least')
    const made = registration(ctx, rows)
    return commit(ctx, {
      statements: [serviceEnabled(ctx), ...begun, ...statements, ...made.statements],
      events: made.events,
      result: shown(ctx, first),
    })
  })
}

/** Keeps a recording with the job that transcribes it. */
function later(ctx: Context, said: Said, { file, statements }: Taken): Promise<Job> {
  const window = windowOf(ctx)
  const occurred_at = said.occurred_at ?? new Date(ctx.now).toISOString()
  const first = { state: {}, progress: 0, result: {}, done: false }
  return startJob(
    ctx,
    transcribing,
    { ...said, occurred_at, file_id: file.id, window_ms: window },
    { ...first, change: { statements: [serviceEnabled(ctx), ...statements] } },
    () => [],
  )
}

/** The job goes on, with the recording. */
class Unheard extends Problem {}

const codeOf = (code = ''): ProblemCode =>
  Object.hasOwn(PROBLEMS, code) ? (code as ProblemCode) : 'upstream_failed'

async function waitedFor(ctx: Context, said: Said, taken: Taken, seconds: number): Promise<Shown> {
  const until = Date.now() + seconds * 1000
  if (ctx.idempotency) ctx.idempotency.awaited = until + KEEPING_MS
  const { id } = await later(ctx, said, taken)
  for (;;) {
    const { status, result, error } = await getJob(ctx, id)
    const details = { job_id: id }
    if (status === 'completed') return shown(ctx, await findInteraction(ctx, String(result?.interaction_id)))
    if (status === 'failed' || status === 'cancelled')
      throw new Unheard(codeOf(error?.code), error?.message ?? 'The transcription was cancelled', { details })
    if (Date.now() + LOOK_MS >= until)
      throw new Unheard('upstream_timeout', `The transcription goes on; read the job ${id}`, { details })
    await scheduler.wait(LOOK_MS)
  }
}
