import { type Fields, fieldsOf, stringOf } from './fields'
import type { ToolEvent } from './upstream'

type Piece = { id: string; name: string; text: string }

/** The tools that one answer calls: its calls are put together from their pieces, and results know whose they are. */
export class ToolCalls {
  /** Calls that are still being written, by their place among the answer’s. */
  private readonly open = new Map<number, Piece>()
  private readonly names = new Map<string, string>()

  /** Takes pieces of calls as OpenAI streams them; answers those that are complete, since another began in their place. */
  gather(pieces: unknown): ToolEvent[] {
    const complete: ToolEvent[] = []
    for (const piece of Array.isArray(pieces) ? pieces.map(fieldsOf) : []) {
      const { id, name, text } = pieceOf(piece)
      const index = typeof piece.index === 'number' ? piece.index : Math.max(0, this.open.size - 1)
      const known = this.open.get(index)
      if (known && (id === '' || known.id === '' || id === known.id)) {
        known.id ||= id
        known.name ||= name
        known.text += text
      } else {
        if (known) complete.push(this.called(known))
        this.open.set(index, { id, name, text })
      }
    }
    return complete
  }

  /** The calls whose pieces have all come. */
  settle(): ToolEvent[] {
    const complete = [...this.open.values()].map((piece) => this.called(piece))
    this.open.clear()
    return complete
  }

  /** Calls that come whole: OpenAI’s and Ollama’s documents, Workers AI’s. */
  whole(calls: unknown): ToolEvent[] {
    if (!Array.isArray(calls)) return []
    return calls.map(fieldsOf).map((call) => {
      const { id, name, text } = pieceOf(call)
      const input = call.arguments ?? fieldsOf(call.function).arguments
      return this.call(id, name, typeof input === 'object' && input !== null ? input : parsed(text))
    })
  }

  private called({ id, name, text }: Piece): ToolEvent {
    return this.call(id, name, parsed(text))
  }

  call(id: string, name: string, input: unknown): ToolEvent {
    const known = id || `call_${this.names.size + 1}`
    this.names.set(known, name || 'tool')
    return { kind: 'tool', id: known, name: name || 'tool', status: 'call', arguments: input ?? {} }
  }

  /** What came of a call. */
  result(id: string, name: string, status: 'result' | 'error', result: unknown): ToolEvent {
    return { kind: 'tool', id, name: name || this.names.get(id) || 'tool', status, result: result ?? null }
  }

  /** The AI SDK’s parts, of its stream to clients and of its own; null for what says nothing yet. */
  part(type: string, value: Fields): ToolEvent | null {
    const id = stringOf(value.toolCallId)
    const name = stringOf(value.toolName) ?? ''
    if (!id) return null
    switch (type) {
      case 'tool-input-available':
      case 'tool-call':
        return this.call(id, name, value.input ?? value.args)
      case 'tool-output-available':
      case 'tool-result':
        return value.preliminary === true
          ? null
          : this.result(id, name, 'result', value.output ?? value.result)
      case 'tool-input-error':
      case 'tool-output-error':
      case 'tool-error':
        return this.result(id, name, 'error', value.errorText ?? value.error)
      default:
        return null
    }
  }

  /** Causeway’s own event. */
  own(value: Fields): ToolEvent | null {
    const { status, result } = value
    const [id, name] = [stringOf(value.id) ?? '', stringOf(value.name) ?? '']
    if (status === 'result' || status === 'error') return id ? this.result(id, name, status, result) : null
    return name ? this.call(id, name, value.arguments) : null
  }
}

/** A call as it is written by OpenAI (a function’s, or a custom tool’s), and without wrapping by Workers AI. */
function pieceOf(call: Fields): Piece {
  const inner = fieldsOf(call.function ?? call.custom ?? call)
  return {
    id: stringOf(call.id) ?? '',
    name: stringOf(inner.name) ?? '',
    text: stringOf(inner.arguments ?? inner.input) ?? '',
  }
}

/** Arguments are JSON in a text; what is none stays as it was written. */
function parsed(text: string): unknown {
  if (text.trim() === '') return {}
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
