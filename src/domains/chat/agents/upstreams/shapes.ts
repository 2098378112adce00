import {
  type Fields,
  failureMessage,
  fieldsOf,
  isFields,
  itemText,
  stringOf,
  textOf,
  tokensOf,
} from './fields'
import { ToolCalls } from './tools'
import type { UpstreamEvent } from './upstream'

// What one JSON value of an answer says, in whichever of the known shapes it is written: n8n's lines, OpenAI's chunks
// and documents, the AI SDK's stream, Ollama's lines, Causeway's own stream, or a document with a field of text.

/** What was said: events of the port, that the agent failed, or that nothing follows. */
export type Said = UpstreamEvent | { kind: 'failed'; message: string } | { kind: 'ended' }

/** Types of the AI SDK's and others' streams that carry no text for the reader. */
const SILENT =
  /^(?:start|finish-step|text-start|text-end|ping|keepalive|(?:reasoning|source|data|message)-|response\.|file$)/

const LENGTH = /^(?:length|max_tokens|model_length)$/

/** Reads the values of one answer; it remembers what the meaning of the next one depends on. */
export class ShapeReader {
  /** n8n: the next item is the first of its node, so it may be a whole document. */
  private opening = true
  private readonly tools = new ToolCalls()
  private thinks = false

  /** What `value` says, in order; null where its shape is not known. */
  read(value: unknown): Said[] | null {
    if (Array.isArray(value)) return this.readArray(value)
    if (!isFields(value)) return typeof value === 'string' ? delta(value) : null
    const failure = failureOf(value)
    if (failure) return [failure]
    if (Array.isArray(value.choices)) return this.readCompletion(value, value.choices)
    if (typeof value.type === 'string') {
      const said = this.readTyped(value.type, value)
      if (said) return said
    }
    const calls = this.tools.whole(value.tool_calls ?? fieldsOf(value.message).tool_calls)
    const said = this.readOllama(value) ?? documentOf(value)
    return said || calls.length > 0 ? [...calls, ...(said ?? usageOf(value))] : null
  }

  /** What was still being put together when the answer ended. */
  end(): Said[] {
    return this.tools.settle()
  }

  /** Whole documents of one array are answers of their own, so a paragraph each; chunks go on where the last one ended. */
  private readArray(values: unknown[]): Said[] | null {
    const said: Said[] = []
    let known = values.length === 0
    for (const value of values) {
      const part = this.read(value)
      if (part === null) continue
      known = true
      const whole = typeof value === 'string' || (isFields(value) && !('type' in value || 'choices' in value))
      if (whole && said.length > 0 && part.length > 0) said.push({ kind: 'delta', text: '\n\n' })
      said.push(...part)
    }
    return known ? said : null
  }

  private readTyped(type: string, value: Fields): Said[] | null {
    switch (type) {
      case 'begin':
        this.opening = true
        return []
      case 'item': {
        const text = itemText(value.content, this.opening)
        this.opening = false
        return delta(text)
      }
      case 'end':
        return []
      case 'text-delta':
        return delta(stringOf(value.delta) ?? stringOf(value.textDelta) ?? stringOf(value.text))
      case 'response.output_text.delta':
      case 'response.refusal.delta':
        return delta(stringOf(value.delta))
      case 'response.output_item.done':
        return this.readItem(fieldsOf(value.item))
      case 'response.completed':
      case 'response.incomplete':
        return [
          ...usageOf(fieldsOf(value.response)),
          ...finishOf(type === 'response.completed' ? 'stop' : 'length'),
        ]
      case 'response.failed':
        return [{ kind: 'failed', message: failureMessage(value.response) ?? 'it reported an error' }]
      case 'reasoning-start':
      case 'reasoning-delta':
        return this.thinking()
      case 'tool':
        return isFields(value.data) ? nonNull(this.tools.own(value.data)) : null
      case 'content_block_delta':
        return delta(textOf(value.delta))
      case 'finish':
        return [...usageOf(value), ...finishOf(value.finishReason)]
      case 'abort':
        return [{ kind: 'failed', message: 'it stopped its answer' }]
      case 'status':
        return statusOf(value)
      case 'done':
        return [...usageOf(fieldsOf(value.data)), ...finishOf(fieldsOf(value.data).finish), { kind: 'ended' }]
      case 'message':
        return isFields(value.data) ? documentOf(value.data) : documentOf(value)
      default:
        if (type.startsWith('tool-')) return nonNull(this.tools.part(type, value))
        if (type.startsWith('response.reasoning')) return this.thinking()
        return SILENT.test(type) ? [] : null
    }
  }

  /** OpenAI: a chunk (`delta`), a document (`message`), or an older completion (`text`); only the first choice is asked for. */
  private readCompletion(value: Fields, choices: unknown[]): Said[] {
    const choice = choices.map(fieldsOf).find(({ index }) => index === undefined || index === 0) ?? {}
    const failure = failureOf(choice)
    if (failure) return [failure]
    const part = fieldsOf(choice.delta ?? choice.message)
    const text = textOf(part.content) || textOf(part.refusal) || textOf(choice.text)
    const thinks = text ? null : part.reasoning_content || part.reasoning
    const calls = part.tool_calls ?? (part.function_call && [{ index: 0, function: part.function_call }])
    return [
      ...(thinks ? this.thinking() : []),
      ...delta(text),
      ...(choice.delta ? this.tools.gather(calls) : this.tools.whole(calls)),
      ...(choice.finish_reason ? this.tools.settle() : []),
      ...usageOf(value),
      ...finishOf(choice.finish_reason),
    ]
  }

  private readOllama(value: Fields): Said[] | null {
    if (typeof value.done !== 'boolean') return null
    const thinks = value.thinking || fieldsOf(value.message).thinking
    const said = [...(thinks ? this.thinking() : []), ...delta(textOf(value))]
    if (!value.done) return said
    const [prompt_tokens, completion_tokens] = [tokensOf(value.prompt_eval_count), tokensOf(value.eval_count)]
    if (prompt_tokens !== null || completion_tokens !== null)
      said.push({ kind: 'usage', prompt_tokens, completion_tokens })
    return [...said, ...finishOf(value.done_reason)]
  }

  /** OpenAI’s newer protocol: something whole that the answer consists of. */
  private readItem({ type, call_id, name, arguments: input }: Fields): Said[] {
    if (type !== 'function_call') return []
    return this.tools.whole([{ id: call_id, name, arguments: input }])
  }

  /** A model’s thoughts are not its answer: a reader is told once that it has some. */
  private thinking(): Said[] {
    if (this.thinks) return []
    this.thinks = true
    return [{ kind: 'status', description: 'Thinking…', level: 'info' }]
  }
}

const nonNull = (said: Said | null): Said[] => (said ? [said] : [])

const delta = (text: string | null): Said[] => (text ? [{ kind: 'delta', text }] : [])

function documentOf(value: unknown): Said[] | null {
  const text = textOf(value)
  return text === null ? null : [...delta(text), ...usageOf(fieldsOf(value))]
}

function statusOf(value: Fields): Said[] {
  const { description, level } = fieldsOf(value.data)
  if (typeof description !== 'string') return []
  return [{ kind: 'status', description, level: level === 'warning' || level === 'error' ? level : 'info' }]
}

/** Usage under the names of OpenAI, Anthropic and the AI SDK. */
function usageOf(value: Fields): Said[] {
  const usage = fieldsOf(value.usage ?? value.totalUsage)
  const prompt_tokens = tokensOf(
    usage.prompt_tokens ?? usage.input_tokens ?? usage.inputTokens ?? usage.promptTokens,
  )
  const completion_tokens = tokensOf(
    usage.completion_tokens ?? usage.output_tokens ?? usage.outputTokens ?? usage.completionTokens,
  )
  if (prompt_tokens === null && completion_tokens === null) return []
  return [{ kind: 'usage', prompt_tokens, completion_tokens }]
}

const FILTERED: Said = {
  kind: 'status',
  description: 'The model’s content filter ended the answer',
  level: 'warning',
}

function finishOf(reason: unknown): Said[] {
  if (typeof reason !== 'string') return []
  if (reason === 'content_filter' || reason === 'content-filter')
    return [FILTERED, { kind: 'finish', reason: 'stop' }]
  return [{ kind: 'finish', reason: LENGTH.test(reason) ? 'length' : 'stop' }]
}

/** `{"error": …}` in any of its usual forms, or an event whose type is `error`. */
function failureOf(value: Fields): Said | null {
  const named = value.type === 'error'
  if (!named && !value.error) return null
  return { kind: 'failed', message: failureMessage(value) ?? 'it reported an error' }
}
