import type { UpstreamEvent } from './upstream'

// What one JSON value of an answer says, in whichever of the known shapes it is written: n8n's lines, OpenAI's chunks
// and documents, the AI SDK's stream, Ollama's lines, Causeway's own stream, or a document with a field of text.

/** What was said: events of the port, that the agent failed, or that nothing follows. */
export type Said = UpstreamEvent | { kind: 'failed'; message: string } | { kind: 'ended' }

type Fields = Record<string, unknown>

/** The fields in which a document may hold its text, in the order in which they are looked for (chat.md). */
const TEXT_FIELDS = ['content', 'output', 'text', 'message', 'response', 'answer', 'choices']

/** Types of the AI SDK's and others' streams that carry no text for the reader. */
const SILENT =
  /^(?:start|finish-step|text-start|text-end|ping|keepalive|(?:tool|reasoning|source|data|message)-|file$)/

const NESTING = 6

/** Reads the values of one answer; it remembers what the meaning of the next one depends on. */
export class ShapeReader {
  /** n8n: the next item is the first of its node, so it may be a whole document. */
  private opening = true

  /** What `value` says, in order; null where its shape is not known. */
  read(value: unknown): Said[] | null {
    if (Array.isArray(value)) return this.readArray(value)
    if (!isFields(value)) return typeof value === 'string' ? delta(value) : null
    const failure = failureOf(value)
    if (failure) return [failure]
    if (Array.isArray(value.choices)) return completionOf(value, value.choices)
    return (
      (typeof value.type === 'string' && this.readTyped(value.type, value)) ||
      ollamaOf(value) ||
      documentOf(value)
    )
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
        return delta(stringOf(value.delta))
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
        return SILENT.test(type) ? [] : null
    }
  }
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {})
const stringOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)
const numberOf = (value: unknown): number | null => (typeof value === 'number' ? value : null)

const delta = (text: string | null): Said[] => (text ? [{ kind: 'delta', text }] : [])

/** The text in a value: itself, the joined parts of an array, or the first field that holds some; null for none. */
function textOf(value: unknown, nesting = NESTING): string | null {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  if (nesting === 0) return null
  if (Array.isArray(value)) {
    const parts = value.flatMap((part) => textOf(part, nesting - 1) ?? [])
    return parts.length > 0 || value.length === 0 ? parts.join('') : null
  }
  if (!isFields(value)) return null
  let found: string | null = null
  for (const name of TEXT_FIELDS) {
    found = textOf(value[name], nesting - 1) ?? found
    if (found) return found
  }
  return found
}

function documentOf(value: unknown): Said[] | null {
  const text = textOf(value)
  return text === null ? null : [...delta(text), ...usageOf(fieldsOf(value))]
}

/** n8n prints what a node hands over: text as it is, an object as JSON, of which the answer is one field. */
function itemText(content: unknown, opening: boolean): string | null {
  if (isFields(content)) return textOf(content) ?? JSON.stringify(content)
  const text = textOf(content)
  if (!opening || text === null || !/^\s*\{[\s\S]*\}\s*$/.test(text)) return text
  try {
    return textOf(JSON.parse(text)) ?? text
  } catch {
    return text
  }
}

/** OpenAI: a chunk (`delta`), a document (`message`), or an older completion (`text`); only the first choice is asked for. */
function completionOf(value: Fields, choices: unknown[]): Said[] | null {
  const choice = choices.map(fieldsOf).find(({ index }) => index === undefined || index === 0) ?? {}
  const failure = failureOf(choice)
  if (failure) return [failure]
  const part = fieldsOf(choice.delta ?? choice.message)
  const text = textOf(part.content) || textOf(part.refusal) || textOf(choice.text)
  return [...delta(text), ...usageOf(value), ...finishOf(choice.finish_reason)]
}

function ollamaOf(value: Fields): Said[] | null {
  if (typeof value.done !== 'boolean') return null
  const said = delta(textOf(value))
  if (!value.done) return said
  const [prompt_tokens, completion_tokens] = [numberOf(value.prompt_eval_count), numberOf(value.eval_count)]
  if (prompt_tokens !== null || completion_tokens !== null)
    said.push({ kind: 'usage', prompt_tokens, completion_tokens })
  return [...said, ...finishOf(value.done_reason)]
}

function statusOf(value: Fields): Said[] {
  const { description, level } = fieldsOf(value.data)
  if (typeof description !== 'string') return []
  return [{ kind: 'status', description, level: level === 'warning' || level === 'error' ? level : 'info' }]
}

/** Usage under the names of OpenAI, Anthropic and the AI SDK. */
function usageOf(value: Fields): Said[] {
  const usage = fieldsOf(value.usage ?? value.totalUsage)
  const prompt_tokens = numberOf(
    usage.prompt_tokens ?? usage.input_tokens ?? usage.inputTokens ?? usage.promptTokens,
  )
  const completion_tokens = numberOf(
    usage.completion_tokens ?? usage.output_tokens ?? usage.outputTokens ?? usage.completionTokens,
  )
  if (prompt_tokens === null && completion_tokens === null) return []
  return [{ kind: 'usage', prompt_tokens, completion_tokens }]
}

function finishOf(reason: unknown): Said[] {
  if (typeof reason !== 'string') return []
  return [{ kind: 'finish', reason: reason === 'length' || reason === 'max_tokens' ? 'length' : 'stop' }]
}

/** `{"error": …}` in any of its usual forms, or an event whose type is `error`. */
function failureOf(value: Fields): Said | null {
  const named = value.type === 'error'
  if (!named && !value.error) return null
  return { kind: 'failed', message: failureMessage(value) ?? 'it reported an error' }
}

/** What an error document says of itself; null where it says nothing. */
export function failureMessage(value: unknown): string | null {
  if (typeof value === 'string') return value || null
  if (!isFields(value)) return null
  for (const name of ['error', 'errorText', 'data', 'message', 'content', 'description', 'detail']) {
    const message = failureMessage(value[name])
    if (message) return message
  }
  return null
}
