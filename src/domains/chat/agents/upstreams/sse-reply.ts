import { type SseEvent, SseParser } from '../../../../lib/sse-parser'
import { failureMessage } from './fields'
import type { FormReader } from './reply'
import type { Said, ShapeReader } from './shapes'
import { beginsPage } from './sniff'
import { UpstreamFailure, webPage } from './upstream'

/** Event names by which streams say that they live, or that they are over. */
const IDLE = /^(?:ping|heartbeat|keep-?alive)$/i
const OVER = /^(?:done|end|close|complete|completed)$/i

type Parsed = { text: string; ok: boolean; value?: unknown }

/** Reads an answer of server-sent events whose data is JSON of a known shape, or plain text. */
export class SseReply implements FormReader {
  strange = false
  /** What the data is, by the first event that had some: a token of plain text may look like JSON too. */
  private dataForm: 'json' | 'text' | null = null
  private spoke = false
  private page = false
  /** The last data that was parsed; it is asked for twice, once to see whether it is whole. */
  private parsed: Parsed = { text: '', ok: false }
  private readonly parser = new SseParser(
    (data) => data === '[DONE]' || (data.startsWith('{') && this.parse(data).ok),
    (line) => {
      this.page = beginsPage(line)
      return this.page
    },
  )

  constructor(private readonly shapes: ShapeReader) {}

  *push(text: string): Generator<Said> {
    for (const event of this.parser.push(text)) yield* this.read(event)
    this.refusePage()
  }

  *end(): Generator<Said> {
    for (const event of this.parser.end()) {
      if (this.dataForm === 'json' && event.data.startsWith('{') && !this.parse(event.data).ok)
        throw new UpstreamFailure(
          'upstream_reset',
          'The agent’s answer ended in the middle of an event',
          true,
        )
      yield* this.read(event)
    }
    this.refusePage()
  }

  /** What stands between an agent and here puts its own page into an answer that it can't go on with. */
  private refusePage(): void {
    if (this.page) throw webPage('The agent’s answer broke off into a web page')
  }

  private *read({ event, data }: SseEvent): Generator<Said> {
    if (data.trim() === '[DONE]') yield { kind: 'ended' }
    else if (event === 'error') yield { kind: 'failed', message: this.failureOf(data) }
    else if (OVER.test(event)) {
      // Such an event may repeat the whole text, so what was said already is left out.
      for (const said of this.jsonOf(data) ?? []) if (said.kind !== 'delta' || !this.spoke) yield said
      yield { kind: 'ended' }
    } else if (!IDLE.test(event)) {
      for (const said of this.saidBy(data)) {
        if (said.kind === 'delta') this.spoke = true
        yield said
      }
    }
  }

  private saidBy(data: string): Said[] {
    const said = this.dataForm === 'text' && !data.startsWith('{') ? null : this.jsonOf(data)
    if (said !== null) {
      this.dataForm ??= 'json'
      return said
    }
    if (this.dataForm !== 'text' && this.parse(data).ok) {
      this.dataForm = 'json'
      this.strange = true
      return []
    }
    // Among JSON, anything else is a sign of life.
    if (this.dataForm === 'json') return []
    this.dataForm = 'text'
    return [{ kind: 'delta', text: data }]
  }

  private jsonOf(data: string): Said[] | null {
    const parsed = this.parse(data)
    return parsed.ok ? this.shapes.read(parsed.value) : null
  }

  private failureOf(data: string): string {
    const parsed = this.parse(data)
    return (parsed.ok ? failureMessage(parsed.value) : null) ?? data
  }

  /** Numbers and bare words are text here, so only what begins like an object, array or string is parsed. */
  private parse(data: string): Parsed {
    if (this.parsed.text === data) return this.parsed
    this.parsed = { text: data, ok: false }
    if (/^\s*[{["]/.test(data)) {
      try {
        this.parsed = { text: data, ok: true, value: JSON.parse(data) }
      } catch {
        // it is text
      }
    }
    return this.parsed
  }
}
