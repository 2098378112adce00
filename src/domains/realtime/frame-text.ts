import { utf8 } from '../../lib/encoding'
import { fieldErrors } from '../../lib/fields'
import { iso } from '../../lib/ids'
import { type Problem, problem } from '../../lib/problem'
import { ClientFrame } from './schema'

const MOST_BYTES = 64 * 1024

export const BAD_FRAME = problem(
  'malformed_body',
  'A frame is {"type": "auth" | "subscribe" | "ack" | "unsubscribe" | "ping", …}',
)

/** What a chat says, `{id, type, data}` with or without an id, as the frame of a channel; it is not parsed for that. */
export function dressed(type: string, channel: string, said: string): string {
  const id = /^\{"id":"([^"]+)"/.exec(said)?.[1]
  const end = id === undefined ? '' : `,"id":"${id}"`
  return `{"type":"${type}","channel":"${channel}","data":${said},"timestamp":"${iso(Date.now())}"${end}}`
}

/** Whether a frame is over 64 KiB; a character is at most three bytes of UTF-8. */
export const isBig = (text: string): boolean =>
  text.length > MOST_BYTES || (text.length * 3 > MOST_BYTES && utf8(text).byteLength > MOST_BYTES)

/** A client’s frame, or what is wrong with it. */
export function parseFrame(text: string): ClientFrame | Problem {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return BAD_FRAME
  }
  const { data, error } = ClientFrame.safeParse(value)
  if (data) return data
  const [wrong] = Object.entries(fieldErrors(error.issues))
  return !wrong || wrong[0] === 'type' || wrong[0] === 'body'
    ? BAD_FRAME
    : problem('validation_failed', `${wrong[0].slice(0, 40)} ${wrong[1]}`)
}
