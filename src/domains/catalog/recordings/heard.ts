import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { type Linked, linked } from '../interactions/linking'
import { rowOf } from '../interactions/rows'
import type { Said } from '../interactions/schema'
import type { Transcript } from '../transcription/transcriber'
import { turnsOf } from '../transcription/turns'

/**
 * The interactions that a recording becomes: one, or where the transcriber tells speakers apart and the caller named none,
 * one for each turn, in one conversation. A speaker that it tells apart is one of this recording alone.
 */
export async function heard(
  ctx: Context,
  said: Said,
  fileId: string,
  transcript: Transcript,
  window: number,
): Promise<Linked> {
  const turns = turnsOf(said.speaker_id === undefined ? transcript : { ...transcript, segments: [] })
  const began = said.occurred_at === undefined ? ctx.now : Date.parse(said.occurred_at)
  const rows = turns.map(({ speaker, text, start }) => ({
    ...rowOf(ctx, { ...said, text, occurred_at: iso(began + Math.round(start * 1000)) }),
    ...(speaker === null ? {} : { speaker_id: `${fileId}:${speaker}` }),
    audio_file_id: fileId,
  }))
  const [first, ...others] = rows
  if (!first) return { rows: [], begun: [] }
  const { rows: found, begun } = await linked(ctx, [first], window)
  const conversation_id = found[0]?.conversation_id ?? null
  return { rows: [...found, ...others.map((row) => ({ ...row, conversation_id }))], begun }
}
