import { createHash } from 'node:crypto'
import { MARK, marked, matchOf, tenantCode, wantedOf } from '../../../lib/words'
import type { NewItem } from './schema'

// What an item is found by, as words of the index `item_words`: those of its text, and one for each thing that lists are
// filtered by. All filters are then one question, answered in the order of the list, whichever of them is the rare one.

/** A letter that no one's keyboard has: it begins the words that stand for filters. */
const FILTER = '\ue000'

/** A text that says nothing of filters. */
export const searchable = (text: string): string => text.replaceAll(FILTER, ' ')

/** Letters of an item that are searched. */
const MOST_LETTERS = 8 * 1024

type Said = Omit<NewItem, 'external_id'>

const sha256 = (text: string, letters: number): string =>
  createHash('sha256').update(text).digest('hex').slice(0, letters)

/** 64 bits stand for the very letters: the index itself folds case and accents. */
const filterWord = (kind: 'category' | 'tag', text: string): string =>
  `${FILTER}${kind === 'tag' ? 't' : 'c'}${sha256(text, 16)}`
const availableWord = (available: boolean): string => `${FILTER}a${available ? 1 : 0}`

/** Of all that its tenant says of an item: what is said again changes nothing. */
export const digestOf = ({ title, category, tags, attributes, available }: Said): string =>
  sha256(JSON.stringify([title, category, tags, attributes, available]), 32)

/** The words of an item, each with a mark before it. */
export function wordsOf(item: NewItem): string {
  const { external_id, title, category, tags, attributes, available } = item
  const text = [title, category ?? '', ...tags, external_id, ...textsOf(attributes)].join('\n')
  const filters = [
    ...(category === null ? [] : [filterWord('category', category)]),
    ...tags.map((tag) => filterWord('tag', tag)),
    availableWord(available),
  ]
  return `${marked(searchable(text).slice(0, MOST_LETTERS).toWellFormed())}\n${filters.map((word) => MARK + word).join(' ')}`
}

/** The texts among attributes, however deep. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : []
}

export type Wanted = {
  category?: string | undefined
  tag?: string[] | undefined
  available?: boolean | undefined
  q?: string | undefined
}

/** What is asked of the index for all of these, in FTS5’s language; null where nothing is. */
export function questionOf(tenantId: string, { category, tag = [], available, q }: Wanted): string | null {
  const code = tenantCode(tenantId)
  const filters = [
    ...(category === undefined ? [] : [filterWord('category', category)]),
    ...tag.map((one) => filterWord('tag', one)),
    ...(available === undefined ? [] : [availableWord(available)]),
  ]
  const asked = filters.map((word) => `"${code}${word}"`)
  if (q !== undefined) asked.push(matchOf(wantedOf(q), [code]))
  return asked.length > 0 ? asked.join(' AND ') : null
}
