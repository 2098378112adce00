import { MARK, marked, matchOf, tenantCode, wantedOf } from '../../lib/words'
import type { Chunk } from './chunks'

// A chunk is found by the words of its text and headings, and by one that stands for its knowledge base.

/** A letter that no one's keyboard has: it begins the word that stands for a base. */
const BASE = '\ue000'

const baseWord = (baseId: string): string => `${BASE}k${baseId.replaceAll('-', '')}`

/** The words of a chunk, each with a mark before it. */
export const wordsOfChunk = (baseId: string, { heading, text }: Chunk): string =>
  `${marked(`${heading ?? ''}\n${text}`.replaceAll(BASE, ' '))}\n${MARK}${baseWord(baseId)}`

/** Words of a question that are looked for. */
const MOST_WORDS = 20

/** What is asked of the index, in FTS5’s language: all chunks of these bases. */
export const chunksIn = (tenantId: string, baseIds: readonly string[]): string =>
  baseIds.map((id) => `"${tenantCode(tenantId)}${baseWord(id)}"`).join(' OR ')

// Chinese and Japanese are written without spaces, and so are these: a question in them is one word to white space.
const IDEOGRAPH = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u
const LETTER = /^[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u

/** What is looked for of a word: itself, or where it is a whole sentence all that so many of its signs in a row may say. */
function termsOf(word: string[]): string[][] {
  const size = word.some((sign) => IDEOGRAPH.test(sign))
    ? 2
    : word.some((sign) => LETTER.test(sign))
      ? 4
      : null
  if (size === null || word.length <= size) return [word]
  return Array.from({ length: word.length - size + 1 }, (_, i) => word.slice(i, i + size))
}

/** Shorter words are those between the others, and what begins with them is half of a language. */
const LEAST_BEGINNING = 4

const asTerm = (word: string[], code: string): string => {
  const term = matchOf([word], [code])
  return (word.at(-1) ?? '').length < LEAST_BEGINNING ? term.replace('"*)', '")') : term
}

/** The same: chunks with any of the question's words, or one that begins with it. Null where the question has no word. */
export function wordsAsked(tenantId: string, query: string): string | null {
  const code = tenantCode(tenantId)
  const words = wantedOf(query.replaceAll(BASE, ' '))
    .filter(([first = ''], _, all) => all.length <= MOST_WORDS || first.length > 3)
    .flatMap(termsOf)
    .slice(0, MOST_WORDS)
  if (words.length === 0) return null
  return words.map((word) => asTerm(word, code)).join(' OR ')
}
