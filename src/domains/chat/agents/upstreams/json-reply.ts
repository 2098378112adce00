import { JsonSplitter } from '../../../../lib/json-splitter'
import type { FormReader } from './reply'
import type { Said, ShapeReader } from './shapes'
import { UpstreamFailure } from './upstream'

/** Reads an answer of JSON: one document, lines, or values one after the other. */
export class JsonReply implements FormReader {
  strange = false
  private readonly splitter = new JsonSplitter()
  /** The text so far, while it can still turn out to be a sentence that begins with a bracket or a quote. */
  private raw = ''
  /** A first string or array: a whole document, or the beginning of such a sentence. */
  private held: string | null = null
  private recognised = false
  private plain = false

  constructor(
    private readonly shapes: ShapeReader,
    private readonly contentType: string,
  ) {}

  *push(text: string): Generator<Said> {
    if (this.plain) {
      yield { kind: 'delta', text }
      return
    }
    if (!this.recognised) this.raw += text
    for (const value of this.splitter.push(text)) {
      const first = !this.recognised && !this.strange && this.held === null
      if (this.held !== null) yield* this.read(this.held)
      this.held = null
      // What was held is none: `raw` has all that came with it, this value too.
      if (this.plain) return
      if (first && !value.startsWith('{')) this.held = value
      else yield* this.read(value)
      if (this.plain) return
    }
    if (!this.splitter.foreign) return
    if (this.recognised) throw broken('The agent’s answer goes on with something that is not JSON')
    yield* this.asPlainText()
  }

  *end(): Generator<Said> {
    if (this.plain) return
    if (this.splitter.open) {
      if (this.recognised || this.meantAsJson())
        throw new UpstreamFailure(
          'upstream_reset',
          'The agent’s answer ended in the middle of its JSON',
          true,
        )
      yield* this.asPlainText()
    } else if (this.held !== null) yield* this.read(this.held)
    // A model that was asked for JSON answers JSON, and its server calls that plain text.
    if (this.strange && !this.recognised && this.contentType.includes('text/plain')) yield* this.asPlainText()
  }

  private *read(text: string): Generator<Said> {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      if (this.recognised || this.meantAsJson()) throw broken('The agent’s answer is not valid JSON')
      yield* this.asPlainText()
      return
    }
    const said = this.shapes.read(value)
    if (said === null) {
      this.strange = true
      return
    }
    this.recognised = true
    this.raw = ''
    yield* said
  }

  private *asPlainText(): Generator<Said> {
    this.plain = true
    this.strange = false
    yield { kind: 'delta', text: this.raw }
  }

  private meantAsJson = () => /\bjson\b/.test(this.contentType) || /^\s*(?:\{\s*"|\[\s*\{)/.test(this.raw)
}

const broken = (message: string) => new UpstreamFailure('upstream_error', message, false)
