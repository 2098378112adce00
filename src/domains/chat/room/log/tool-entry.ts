import { utf8 } from '../../../../lib/encoding'
import type { ToolEvent } from '../../agents/upstreams/upstream'
import { cut, type DataOf, MAX_JSON } from './protocol'

/** Characters of an id and of a name; what real ones have is far below. */
const MOST_NAME = 128
/** What a frame holds besides: its type, the field names, and the mark of what was cut. */
const FRAME = JSON.stringify({
  type: 'tool',
  data: { status: 'result', arguments: '', result: '', truncated: true },
})

/**
 * A tool’s call or result as an entry of the log. What is longer than a frame is cut, as JSON in a text, and marked:
 * readers see what is kept.
 */
export function toolEntry(event: ToolEvent): DataOf['tool'] {
  const { id, name, status } = event
  const named = {
    id: id.slice(0, MOST_NAME).toWellFormed(),
    name: name.slice(0, MOST_NAME).toWellFormed(),
    status,
  }
  const whole = { ...named, ...valuesOf(event, (value) => value) }
  if (sizeOf({ type: 'tool', data: whole }) <= MAX_JSON) return whole
  const room = MAX_JSON - FRAME.length - sizeOf(named)
  const both = event.arguments !== undefined && event.result !== undefined
  const short = (value: unknown) => cut(printed(value), both ? Math.floor(room / 2) : room)[0]
  return { ...named, ...valuesOf(event, short), truncated: true }
}

function valuesOf(
  event: ToolEvent,
  as: (value: unknown) => unknown,
): Pick<ToolEvent, 'arguments' | 'result'> {
  return {
    ...(event.arguments === undefined ? {} : { arguments: as(event.arguments) }),
    ...(event.result === undefined ? {} : { result: as(event.result) }),
  }
}

const printed = (value: unknown): string =>
  (typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed()

/** Bytes of a value as JSON; of what is too long anyhow it is enough to know that. */
function sizeOf(value: unknown): number {
  const text = JSON.stringify(value)
  return text.length > MAX_JSON ? text.length : utf8(text).byteLength
}
