import { utf8 } from '../../../lib/encoding'
import { clean, tenantCode, type Wanted, WORD } from '../../../lib/words'

/** The end of a chat that is searched (chat.md). */
const MOST_BYTES = 8 * 1024

/** The end of a conversation that is searched, at most 8 KiB, from the beginning of a word on. */
export function searchedText(contents: readonly string[]): string {
  let text = ''
  for (const content of contents.toReversed()) {
    // Nothing is shorter in bytes than in code units.
    text = `${content.slice(-MOST_BYTES)}\n${text}`
    if (text.length > MOST_BYTES) break
  }
  const bytes = utf8(clean(text.trim()).toWellFormed())
  if (bytes.byteLength <= MOST_BYTES) return new TextDecoder().decode(bytes)
  const end = new TextDecoder().decode(bytes.slice(-MOST_BYTES)).replace(/^�+/, '')
  const space = end.search(/\s/)
  return end.slice(space < 0 || space > 100 ? 0 : space).trim()
}

/** Whose words they are, as triggers write it before each (see the migration): 48 bits of the subject’s id. */
export function finderCode(subject: string, tenantId: string): string {
  return subject === 'tenant' ? tenantCode(tenantId) : `${subject[0]}${subject.slice(-12)}`
}

/** A piece of a snippet; `match` where it is what was looked for. */
export type Part = { text: string; match?: true }

/** Characters of a snippet, and how many of them may stand before what was found. */
const SNIPPET = 200
const BEFORE = 60

const folded = (word: string): string =>
  word.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase().normalize('NFC')

type Place = { start: number; end: number; wanted: number }

/** Where in `text` what is looked for stands. */
function placesOf(text: string, wanted: Wanted): Place[] {
  const words = [...text.matchAll(WORD)].map((match) => ({
    start: match.index,
    end: match.index + match[0].length,
    text: folded(match[0]),
  }))
  const phrases = wanted.map((phrase) => phrase.map(folded))
  const isAt = (phrase: string[], at: number) =>
    phrase.every((word, i) => {
      const there = words[at + i]?.text
      return i === phrase.length - 1 ? there?.startsWith(word) : there === word
    })
  return words.flatMap(({ start }, at) => {
    const found = phrases.findIndex((phrase) => isAt(phrase, at))
    const last = words[at + (phrases[found]?.length ?? 0) - 1]
    return found < 0 || !last ? [] : [{ start, end: last.end, wanted: found }]
  })
}

/** Whether all that is looked for is in a text. */
export const isIn = (text: string, wanted: Wanted): boolean =>
  wanted.every((phrase) => placesOf(text, [phrase]).length > 0)

/** The part of a text that shows most of what is looked for, the newest of several; null where it shows nothing. */
export function snippetOf(text: string, wanted: Wanted, length = SNIPPET): Part[] | null {
  const places = placesOf(text, wanted)
  let best: Place | null = null
  let most = 0
  places.forEach((place, i) => {
    const shown = new Set<number>()
    for (let j = i; j < places.length && (places[j]?.end ?? 0) <= place.start + length - BEFORE; j++)
      shown.add(places[j]?.wanted ?? 0)
    if (best && shown.size < most) return
    best = place
    most = shown.size
  })
  if (!best) return null
  const [start, end] = windowAt(text, (best as Place).start, length)
  const parts: Part[] = []
  let at = start
  for (const place of places) {
    if (place.start < at || place.start >= end) continue
    if (place.start > at) parts.push({ text: text.slice(at, place.start) })
    at = Math.min(place.end, end)
    parts.push({ text: text.slice(place.start, at), match: true })
  }
  if (at < end) parts.push({ text: text.slice(at, end) })
  return trimmed(parts, start > 0, end < text.length)
}

/** From where to where a snippet goes that shows what begins at `place`; it cuts no character, and no word that it need not. */
function windowAt(text: string, place: number, length: number): [start: number, end: number] {
  let start = Math.max(0, Math.min(place - BEFORE, text.length - length))
  if (start > 0) {
    const space = text.slice(start, place).search(/\s/)
    if (space >= 0) start += space + 1
    else if (isLow(text, start)) start += 1
  }
  let end = Math.min(text.length, start + length)
  if (end < text.length) {
    const space = text.slice(place, end).search(/\s\S*$/)
    if (space > 0) end = place + space
    else if (isLow(text, end)) end -= 1
  }
  return [start, end]
}

const isLow = (text: string, at: number): boolean => /[\udc00-\udfff]/.test(text[at] ?? '')

/** One line, with dots where the text goes on. */
function trimmed(parts: Part[], before: boolean, after: boolean): Part[] {
  const lines = parts.map((part) => ({ ...part, text: part.text.replace(/\s+/g, ' ') }))
  if (before) lines.unshift({ text: '…' })
  if (after) lines.push({ text: '…' })
  return lines.filter(({ text }) => text !== '')
}
