import { JsonReply } from './json-reply'
import { type Said, ShapeReader } from './shapes'
import { formOf } from './sniff'
import { SseReply } from './sse-reply'
import { type UpstreamEvent, UpstreamFailure, webPage } from './upstream'

/** Reads the text of an answer whose form is known; what it yields is said, what it throws is an UpstreamFailure. */
export interface FormReader {
  /** Whether something came that none of the known shapes fits. */
  strange: boolean
  push(text: string): Iterable<Said>
  /** The body has ended by itself. */
  end(): Iterable<Said>
}

/**
 * Reads one answer, whatever its form and however its bytes were cut: bytes in, events out, each as soon as its bytes are
 * complete. A generator throws UpstreamFailure after yielding what came before the failure.
 */
export class ReplyReader {
  /** Set when the answer said that nothing follows, before its body ended. */
  done = false
  private readonly decoder = new TextDecoder()
  private begun = ''
  private reader: FormReader | null = null
  private spoke = false
  private halfPair = ''
  private readonly shapes = new ShapeReader()

  constructor(private readonly contentType: string) {}

  *push(bytes: Uint8Array): Generator<UpstreamEvent> {
    yield* this.take(this.decoder.decode(bytes, { stream: true }), false)
  }

  /** The body has ended by itself. */
  *end(): Generator<UpstreamEvent> {
    yield* this.take(this.decoder.decode(), true)
    if (this.reader && !this.done) yield* this.say(this.reader.end())
    if (!this.done) yield* this.say(this.shapes.end())
    if (this.halfPair) yield { kind: 'delta', text: '\ufffd' }
    else if (!this.spoke) throw nothingSaid(this.reader?.strange ?? false)
  }

  private *take(text: string, ended: boolean): Generator<UpstreamEvent> {
    let fresh = text
    if (!this.reader) {
      this.begun += text
      const form = formOf(this.begun, this.contentType, ended)
      if (form === null) return
      this.reader = this.readerOf(form)
      fresh = this.begun
      this.begun = ''
    }
    if (!this.done && fresh !== '') yield* this.say(this.reader.push(fresh))
  }

  private readerOf(form: NonNullable<ReturnType<typeof formOf>>): FormReader {
    switch (form) {
      case 'sse':
        return new SseReply(this.shapes)
      case 'json':
        return new JsonReply(this.shapes, this.contentType)
      case 'text':
        return new TextReply()
      case 'html':
        throw webPage('The agent answered with a web page; check its address')
    }
  }

  private *say(said: Iterable<Said>): Generator<UpstreamEvent> {
    for (const event of said) {
      if (event.kind === 'failed')
        throw new UpstreamFailure('upstream_error', `The agent reported an error: ${event.message}`, false)
      if (event.kind === 'ended') {
        yield* this.say(this.shapes.end())
        this.done = true
        return
      }
      if (event.kind === 'tool') this.spoke = true
      if (event.kind !== 'delta') yield event
      else yield* this.sayText(event.text)
    }
  }

  /** A character outside the BMP may be cut in two escapes; its first half waits for the second. */
  private *sayText(added: string): Generator<UpstreamEvent> {
    const text = this.halfPair + added
    const cut = /[\ud800-\udbff]$/.test(text)
    this.halfPair = cut ? text.slice(-1) : ''
    const whole = cut ? text.slice(0, -1) : text
    if (whole === '') return
    this.spoke = true
    yield { kind: 'delta', text: whole }
  }
}

class TextReply implements FormReader {
  strange = false
  private begun = false

  push(text: string): Said[] {
    // Lines that kept the connection alive are not part of the answer.
    const fresh = this.begun ? text : text.trim() && text.replace(/^\s*\n/, '')
    this.begun = true
    return [{ kind: 'delta', text: fresh }]
  }

  end(): Said[] {
    return []
  }
}

const nothingSaid = (strange: boolean) =>
  strange
    ? new UpstreamFailure(
        'upstream_error',
        'The agent answered JSON without content, output, text, message, response, answer or choices',
        false,
      )
    : new UpstreamFailure('upstream_empty', 'The agent answered nothing', true)
