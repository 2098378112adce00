import type { Context } from '../../../data/context'
import { Problem, problem } from '../../../lib/problem'
import { fileOf } from '../../files/keeping'
import { jobKind } from '../../jobs/kinds'
import { replaceInput } from '../../jobs/service'
import { registration } from '../interactions/register'
import type { Said } from '../interactions/schema'
import { transcriberOf } from '../transcription/choose'
import { heard } from './heard'
import { recordingOf } from './take'

/** An hour of speech takes a large model a minute or two. */
const PATIENCE_MS = 5 * 60_000

export type Input = Omit<Said, 'text'> & { file_id: string; occurred_at: string; window_ms: number }

/**
 * Transcribes a recording, in one step: what it becomes is written with the step's checkpoint, so it becomes that once,
 * however often it was heard. The switch was asked when it was taken.
 */
export const transcribing = jobKind<Input, Record<string, never>>({
  name: 'interactions.transcribe',
  scope: 'interactions:write',
  step: async (ctx, { id, input }) => {
    const { window_ms, ...said } = input
    const transcript = await transcribed(ctx, said.file_id)
    const { rows, begun } = await heard(ctx, said, said.file_id, transcript, window_ms)
    const ids = rows.map((row) => row.id)
    const { statements, events } = registration(ctx, rows)
    return {
      ...{ state: {}, progress: 100, done: true },
      result: {
        interaction_id: ids[0],
        interaction_ids: ids,
        conversation_id: rows[0]?.conversation_id,
      },
      // What was said of it is with the interactions now, and goes with them.
      change: {
        statements: [...begun, ...statements, replaceInput(ctx, id, { file_id: said.file_id })],
        events,
      },
    }
  },
})

async function transcribed(ctx: Context, fileId: string) {
  const transcriber = await transcriberOf(ctx)
  if (!transcriber)
    throw problem(
      'conflict',
      'The service transcribes nothing any more: its setting TRANSCRIBER is empty, and there is no transcriber of your own',
    )
  const file = await fileOf(ctx, fileId)
  if (!file) throw problem.notFound('file', fileId)
  const asked = { until: Date.now() + PATIENCE_MS, traceparent: ctx.traceparent }
  return transcriber(await recordingOf(ctx, file), asked).catch((error: unknown) => {
    throw error instanceof Problem ? inWords(error) : error
  })
}

/** A job tells no fields, so what is wrong with the recording is its message. */
function inWords(refusal: Problem): Problem {
  const { audio } = (refusal.details.fields ?? {}) as Record<string, string>
  return audio === undefined ? refusal : problem(refusal.code, `The recording ${audio}`)
}
