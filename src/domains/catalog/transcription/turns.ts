import type { Segment, Transcript } from './transcriber'

/** What one speaker said before the next did; `speaker` is the transcriber's label, null where it tells none apart. */
export type Turn = { speaker: string | null; text: string; start: number }

/** Turns of one recording; what comes after belongs to the last. */
const MOST_TURNS = 500
/** An interaction's text; a recording of 25 MiB may be longer than that. */
const MOST_TEXT = 100_000
/** A transcriber's label becomes part of a speaker's id. */
const MOST_LABEL = 200
/** No recording of 25 MiB lasts longer than a week. */
const MOST_SECONDS = 7 * 24 * 3600

/** A transcript by turns: one for all of it, unless the transcriber tells speakers apart. Whatever it says can be kept. */
export function turnsOf(transcript: Transcript): Turn[] {
  const segments = transcript.segments.map(({ speaker, text, start }) => ({
    speaker: speaker === null ? null : labelOf(speaker),
    text: text.toWellFormed(),
    start: start >= 0 && start <= MOST_SECONDS ? start : 0,
  }))
  const told = segments.some(({ speaker }) => speaker !== null)
  const whole = [{ speaker: null, text: transcript.text.toWellFormed(), start: 0 }]
  const turns = told ? bySpeaker(segments) : whole
  return (turns.length > 0 ? turns : whole).flatMap(cut)
}

/** A label as ids of speakers are; null where nothing of it is left. */
const labelOf = (label: string): string | null =>
  label
    .replace(/\p{Cc}/gu, ' ')
    .slice(0, MOST_LABEL)
    .toWellFormed()
    .trim() || null

function bySpeaker(segments: readonly Segment[]): Turn[] {
  const turns: Turn[] = []
  for (const { speaker, text, start } of segments) {
    const words = text.trim()
    const last = turns.at(-1)
    if (words === '') continue
    // Who is not told is who spoke last.
    if (last && (speaker === null || speaker === last.speaker || turns.length === MOST_TURNS))
      last.text += ` ${words}`
    else turns.push({ speaker, text: words, start })
  }
  return turns
}

/** A turn in parts that are texts of interactions, cut between words where it can be. */
function cut(turn: Turn): Turn[] {
  const parts: Turn[] = []
  let rest = turn.text
  while (rest.length > MOST_TEXT) {
    const space = rest.lastIndexOf(' ', MOST_TEXT)
    const end = space > 0 ? space : MOST_TEXT
    parts.push({ ...turn, text: rest.slice(0, end).toWellFormed() })
    rest = rest.slice(end).trimStart()
  }
  return [...parts, { ...turn, text: rest }]
}
