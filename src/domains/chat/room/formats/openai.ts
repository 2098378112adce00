import { utf8 } from '../../../../lib/encoding'
import type { Source } from '../../messages/schema'
import { type DataOf, type Frame, RUN_EVENTS } from '../log/protocol'
import { quotedText, type Telling, type ToldRun } from './format'

// OpenAI’s chunks of a streamed chat completion: https://platform.openai.com/docs/api-reference/chat-streaming

export type Tokens = { prompt_tokens: number | null; completion_tokens: number | null }
export type FinishReason = 'stop' | 'length' | 'tool_calls'
export type ToolCall = { id: string; type: 'function'; function: { name: string; arguments: string } }

/** Whatever names one answer in OpenAI’s words. */
export type Answer = { id: string; model: string; started_at: number }

/** What stands at the head of an answer, streamed or not. */
export const headOf = <T extends string>({ id, model, started_at }: Answer, object: T) => ({
  id: `chatcmpl-${id}`,
  object,
  created: Math.floor(started_at / 1000),
  model,
})

/** Tokens as OpenAI counts them; null where the agent told none. */
export function usageOf({ prompt_tokens, completion_tokens }: Tokens) {
  if (prompt_tokens === null && completion_tokens === null) return null
  const [prompt, completion] = [prompt_tokens ?? 0, completion_tokens ?? 0]
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

/** Prints the chunks of one answer. With `usage` the last tells it, and each of the others that it does not. */
export class Chunks {
  readonly start: Uint8Array
  private readonly head: string
  private readonly tail: string

  constructor(answer: Answer, usage: boolean) {
    this.head = `data: ${JSON.stringify(headOf(answer, 'chat.completion.chunk')).slice(0, -1)},"choices":`
    this.tail = usage ? ',"usage":null}\n\n' : '}\n\n'
    this.start = this.choice('{"role":"assistant","content":"","refusal":null}')
  }

  /** A piece of text, as a JSON string. */
  text(quoted: string): Uint8Array {
    return this.choice(`{"content":${quoted}}`)
  }

  tool(index: number, call: ToolCall): Uint8Array {
    return this.choice(JSON.stringify({ tool_calls: [{ index, ...call }] }))
  }

  /** The end of the text, with what it was written with; of the stream; and between them the tokens where they are asked for and known. */
  end(finish: FinishReason, tokens: Tokens, sources: Source[] = []): Uint8Array[] {
    const told = this.tail === '}\n\n' ? null : usageOf(tokens)
    const usage = told && `${this.head}[],"usage":${JSON.stringify(told)}}\n\n`
    const written = sources.length > 0 ? `,"sources":${JSON.stringify(sources)}` : ''
    return [this.choice('{}', `"${finish}"`, written), utf8(`${usage ?? ''}data: [DONE]\n\n`)]
  }

  private choice(delta: string, finish = 'null', more = ''): Uint8Array {
    const choice = `[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}]`
    return utf8(this.head + choice + more + this.tail)
  }
}

/** What goes wrong after the stream has begun, as OpenAI’s clients look for it there. */
export function failureChunk({ message, code }: { message: string; code: string }): Uint8Array {
  const error = { message, type: 'server_error', param: null, code }
  return utf8(`data: ${JSON.stringify({ error })}\n\ndata: [DONE]\n\n`)
}

/** Text by frame, for who wants the tokens told and for who does not. */
const texts = [new WeakMap<Frame, Uint8Array[]>(), new WeakMap<Frame, Uint8Array[]>()] as const

const OPENAI_EVENTS: ReadonlySet<string> = new Set([...RUN_EVENTS].filter((type) => type !== 'status'))

/** A chat’s run as OpenAI’s chunks. The agent’s tools are its own affair. */
export class AsOpenai implements Telling {
  readonly types = OPENAI_EVENTS
  readonly greeting: Uint8Array
  private readonly chunks: Chunks
  private readonly printed: WeakMap<Frame, Uint8Array[]>

  constructor({ id, agent_id, started_at }: ToldRun, usage: boolean) {
    this.chunks = new Chunks({ id, model: agent_id, started_at }, usage)
    this.greeting = this.chunks.start
    this.printed = texts[usage ? 1 : 0]
  }

  of(frame: Frame): Uint8Array[] {
    const known = this.printed.get(frame)
    if (known) return known
    const fresh = this.print(frame)
    this.printed.set(frame, fresh)
    return fresh
  }

  told(): void {}

  private print(frame: Frame): Uint8Array[] {
    if (frame.type === 'message') return [this.chunks.text(quotedText(frame))]
    const { data } = JSON.parse(frame.body)
    return frame.type === 'error' ? [failureChunk(data)] : this.end(data)
  }

  private end({ finish, usage, sources }: DataOf['done']): Uint8Array[] {
    const tokens = { prompt_tokens: null, completion_tokens: null, ...(usage as Partial<Tokens> | undefined) }
    return this.chunks.end(finish === 'length' ? 'length' : 'stop', tokens, sources)
  }
}
