/** The forms that an answer's body can have. */
export type Form = 'sse' | 'json' | 'html' | 'text'

const PAGE = ['<!doctype', '<html', '<head', '<body', '<title']

/** Whether a line begins a web page. */
export const beginsPage = (line: string): boolean => {
  const start = line.trimStart().slice(0, 16).toLowerCase()
  return PAGE.some((tag) => start.startsWith(tag))
}
const FIELDS = ['data:', 'event:', 'id:', 'retry:']

/** How much is looked at before a body that begins like an event stream, and goes on unlike one, is plain text. */
const ENOUGH = 1024

/**
 * The form of a body that begins with `begun`, by its bytes first and its content type second; null while it could
 * still be either of two. Once the body has `ended` there is always an answer.
 */
export function formOf(begun: string, contentType: string, ended: boolean): Form | null {
  const text = begun.trimStart()
  const undecided = ended ? 'text' : null
  if (text === '') return undecided
  if (/^[{["]/.test(text)) return 'json'
  if (text.startsWith('<')) {
    if (beginsPage(text)) return 'html'
    const start = text.slice(0, 16).toLowerCase()
    return PAGE.some((tag) => tag.startsWith(start)) ? undecided : 'text'
  }
  if (text.startsWith('data:')) return 'sse'
  if (FIELDS.some((field) => field.startsWith(text))) return undecided
  if (!/^(?:event|id|retry)?:/.test(text)) return 'text'
  if (contentType.includes('text/event-stream')) return 'sse'
  // A sentence may begin with "id:" or ":)" too, so here a data line must follow.
  const rest = text.replace(/^(?:(?:(?:event|id|retry)?:[^\n]*)?\n)+/, '')
  if (rest.startsWith('data:')) return 'sse'
  const mayFollow =
    FIELDS.some((field) => field.startsWith(rest)) || /^(?:event|id|retry)?:[^\n]*$/.test(rest)
  return mayFollow && text.length < ENOUGH ? undecided : 'text'
}
