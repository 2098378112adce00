import type { Frame } from '../log/protocol'

/** In which words a client wants a run: the chat’s own events, the AI SDK’s parts or OpenAI’s chunks. */
export type FormatName = 'events' | 'ui' | 'openai' | 'openai+usage'

/** A run, as its stream begins. */
export type ToldRun = {
  id: string
  message_id: string
  answer_id: string
  agent_id: string
  started_at: number
}

/** How a run is told to one client. What is printed of a frame is printed once, whoever asks for it. */
export interface Telling {
  /** The types of entries that it has words for. */
  readonly types: ReadonlySet<string>
  /** What stands before the first event. */
  readonly greeting: Uint8Array
  /** The writes that stand for a frame, after what was told before it. */
  of(frame: Frame): Uint8Array[]
  /** The frame was told. */
  told(frame: Frame): void
}

/** What is made of a frame once, for all who are told it: readers of a run share its frames. */
export function onceEach<T extends WeakKey>(make: (frame: Frame) => T): (frame: Frame) => T {
  const made = new WeakMap<Frame, T>()
  return (frame) => {
    const known = made.get(frame)
    if (known) return known
    const fresh = make(frame)
    made.set(frame, fresh)
    return fresh
  }
}

const MESSAGE = '{"type":"message","data":{"content":'

/** The text of a `message` frame as the JSON string that it was printed as. */
export function quotedText({ body }: Frame): string {
  if (!body.startsWith(MESSAGE)) throw new Error('not the frame of a text')
  return body.slice(MESSAGE.length, -2)
}
