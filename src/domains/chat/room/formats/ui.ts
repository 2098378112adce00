import { utf8 } from '../../../../lib/encoding'
import type { Source } from '../../messages/schema'
import { type DataOf, type Frame, RUN_EVENTS } from '../log/protocol'
import { onceEach, quotedText, type Telling, type ToldRun } from './format'

// The Vercel AI SDK’s UI message stream, version 1: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol

export const UI_HEADERS = { 'x-vercel-ai-ui-message-stream': 'v1' }

/** One part of a text at a time, so that all of them can have one name. */
const TEXT = 'text'

const event = (data: string): Uint8Array => utf8(`data: ${data}\n\n`)
const lines = (...chunks: object[]): string => chunks.map((chunk) => JSON.stringify(chunk)).join('\n\ndata: ')

const TEXT_START = event(lines({ type: 'text-start', id: TEXT }))
const TEXT_END = event(lines({ type: 'text-end', id: TEXT }))

const printText = onceEach((frame) =>
  event(`{"type":"text-delta","id":"${TEXT}","delta":${quotedText(frame)}}`),
)

const printOther = onceEach(({ type, body }) => {
  const { data } = JSON.parse(body)
  switch (type) {
    case 'message.updated':
      return event(lines(...data.metadata.sources.map(sourceOf)))
    case 'tool':
      return event(toolOf(data))
    case 'done':
      return event(`${endOf(data)}\n\ndata: [DONE]`)
    case 'error':
      return event(`${lines({ type: 'error', errorText: data.message })}\n\ndata: [DONE]`)
    default:
      // What concerns the moment, and no message: `onData` is given it.
      return event(lines({ type: `data-${type}`, data, transient: true }))
  }
})

/** The agent calls its tools itself, so the client has nothing to carry out. */
const THEIRS = { providerExecuted: true, dynamic: true }

function toolOf({ id, name, status, arguments: input, result }: DataOf['tool']): string {
  const call = { toolCallId: id, ...THEIRS }
  if (status === 'call')
    return lines({ type: 'tool-input-available', ...call, toolName: name, input: parsed(input) })
  if (status === 'result') return lines({ type: 'tool-output-available', ...call, output: parsed(result) })
  const errorText = typeof result === 'string' ? result : JSON.stringify(result ?? 'The tool failed')
  return lines({ type: 'tool-output-error', ...call, errorText })
}

/** What the answer is written with. */
const sourceOf = ({ filename, heading, ...place }: Source) => ({
  ...{ type: 'source-document', sourceId: `${place.document_id}#${place.chunk}`, mediaType: 'text/plain' },
  ...{ title: heading ?? filename, filename, providerMetadata: { causeway: place } },
})

/** Arguments are often JSON in a text; what is none stays the text. */
function parsed(value: unknown): unknown {
  if (typeof value !== 'string') return value ?? null
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

function endOf({ finish, run_id, usage }: DataOf['done']): string {
  const stopped = finish === 'stopped'
  const messageMetadata = { run_id, finish, ...(usage ? { usage } : {}) }
  return lines(
    ...(stopped ? [{ type: 'abort', reason: 'stopped' }] : []),
    { type: 'finish-step' },
    { type: 'finish', finishReason: stopped ? 'other' : finish, messageMetadata },
  )
}

const UI_EVENTS: ReadonlySet<string> = new Set([...RUN_EVENTS, 'tool', 'title', 'message.updated'])

/** The AI SDK’s parts: a text begins with its first word, and ends where a tool is called or the run is over. */
export class AsUi implements Telling {
  readonly types = UI_EVENTS
  readonly greeting: Uint8Array
  private writing = false
  /** The tools that it was told were called: there is no result without a call. */
  private readonly called = new Set<string>()

  constructor({ id, message_id, answer_id }: ToldRun) {
    const messageMetadata = { run_id: id, parent_id: message_id }
    const start = { type: 'start', messageId: answer_id, messageMetadata }
    this.greeting = event(lines(start, { type: 'start-step' }))
  }

  of(frame: Frame): Uint8Array[] {
    if (frame.type === 'message.updated' && !saysSources(frame)) return []
    if (frame.type === 'message') return [...(this.writing ? [] : [TEXT_START]), printText(frame)]
    const ends = this.writing && ENDS_TEXT.has(frame.type)
    return [...(ends ? [TEXT_END] : []), ...this.missingCall(frame), printOther(frame)]
  }

  told(frame: Frame): void {
    if (frame.type === 'message') this.writing = true
    else if (ENDS_TEXT.has(frame.type)) this.writing = false
    if (frame.type === 'tool') this.called.add(toolIn(frame).id)
  }

  private missingCall(frame: Frame): Uint8Array[] {
    if (frame.type !== 'tool') return []
    const tool = toolIn(frame)
    if (tool.status === 'call' || this.called.has(tool.id)) return []
    return [event(toolOf({ ...tool, status: 'call' }))]
  }
}

/** Of what is changed of messages meanwhile, only that is the run’s own. */
const saysSources = ({ body }: Frame): boolean => Array.isArray(JSON.parse(body).data.metadata?.sources)

const ENDS_TEXT: ReadonlySet<string> = new Set(['tool', 'done', 'error'])

const toolIn = onceEach(({ body }): DataOf['tool'] => JSON.parse(body).data)
