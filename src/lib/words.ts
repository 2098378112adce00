// How text is cut into words, for the indexes and for what is looked for in them alike. SQLite's own tokenizer (unicode61)
// folds case and accents; what it can't do is done here: scripts that are written without spaces are indexed character by
// character, and each word gets a mark in front, where the index puts whose word it is.

/** A zero-width space: no part of any word, and in no text, since it is taken out. */
export const MARK = '\u200b'

const UNSPACED =
  '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}'
// What the index takes for parts of words, too: letters, digits, marks, private use.
export const WORD = new RegExp(
  `[${UNSPACED}]\\p{M}*|(?:(?![${UNSPACED}])[\\p{L}\\p{N}\\p{Co}])(?:(?![${UNSPACED}])[\\p{L}\\p{N}\\p{M}\\p{Co}])*`,
  'gu',
)

/** Text as it is cut: no mark is in it but those of the index. */
export const clean = (text: string): string => text.replaceAll(MARK, '').normalize('NFC')

/** The text with a mark before each word, as it is kept. */
export const marked = (text: string): string => clean(text).replace(WORD, `${MARK}$&`)

/** The text as it was before. */
export const unmarked = (text: string): string => text.replaceAll(MARK, '')

/** What is looked for: its words by white space, each as the words of the index that it consists of. */
export type Wanted = string[][]

/** Words that are looked for at once: each is looked up for each of those to whom what is found may belong. */
export const MOST_WORDS = 20

/** The words of a query, each once; none where it has neither letter nor digit. */
export function wantedOf(query: string): Wanted {
  const words = new Set(clean(query).split(/\s+/))
  return [...words].map((word) => word.match(WORD) ?? []).filter((parts) => parts.length > 0)
}

/** Whose words they are that belong to a whole tenant, as triggers write it before each: 48 bits of its id. */
export const tenantCode = (tenantId: string): string => `e${tenantId.slice(-12)}`

/**
 * The query in FTS5’s language: every word, or one that begins with it, among the words of any of these. Each stands in
 * quotes and has nothing but letters, digits and marks, so that it can’t be anything else than a word.
 */
export function matchOf(wanted: Wanted, codes: readonly string[]): string {
  const of = (code: string) =>
    wanted.map((words) => `"${words.map((word) => code + word).join(' ')}"*`).join(' AND ')
  return codes.map((code) => `(${of(code)})`).join(' OR ')
}
