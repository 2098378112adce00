/** One event of a stream (HTML Standard, "Server-sent events"); `event` is empty where the stream named none. */
export type SseEvent = { event: string; data: string }

/** A comment's is empty. */
const FIELDS = new Set(['', 'data', 'event', 'id', 'retry'])

/**
 * Splits the text of an event stream into events, however the text was cut. `isWhole` may say that the data so far is
 * complete in itself (asked of an event's first line); then it does not wait for the blank line, which careless servers forget.
 */
export class SseParser {
  private line: string[] = []
  private data: string[] = []
  private event = ''
  private afterReturn = false
  private over = false

  constructor(
    private readonly isWhole: (data: string) => boolean = () => false,
    /** Whether a line that is none of an event stream’s ends it, with the event that was coming; clients pass over them. */
    private readonly ends: (line: string) => boolean = () => false,
  ) {}

  /** The events that `text` completes. */
  push(text: string): SseEvent[] {
    const events: SseEvent[] = []
    const lineEnd = /\r\n?|\n/g
    // A CRLF may be cut in two: the line ended at the CR already.
    let from = this.afterReturn && text.startsWith('\n') ? 1 : 0
    if (text !== '') this.afterReturn = text.endsWith('\r')
    lineEnd.lastIndex = from
    for (let found = lineEnd.exec(text); found && !this.over; found = lineEnd.exec(text)) {
      this.line.push(text.slice(from, found.index))
      const line = this.line.join('')
      this.line = []
      from = lineEnd.lastIndex
      this.take(line, events)
    }
    if (from < text.length && !this.over) this.line.push(text.slice(from))
    return events
  }

  /** What the stream's end leaves without its line end or blank line. */
  end(): SseEvent[] {
    const events: SseEvent[] = []
    const line = this.line.join('')
    this.line = []
    if (line !== '') this.take(line, events)
    this.take('', events)
    return events
  }

  private take(line: string, events: SseEvent[]): void {
    if (this.over) return
    if (line === '') {
      this.dispatch(events)
      this.event = ''
      return
    }
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'event') this.event = value
    else if (!FIELDS.has(field)) this.over = this.ends(line)
    if (field !== 'data') return
    this.data.push(value)
    if (this.data.length === 1 && this.isWhole(value)) this.dispatch(events)
  }

  private dispatch(events: SseEvent[]): void {
    const data = this.data.join('\n')
    this.data = []
    if (data !== '') events.push({ event: this.event, data })
  }
}
