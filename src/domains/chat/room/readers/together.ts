import { concat } from '../../../../lib/encoding'
import type { Frame } from '../log/protocol'
import type { Printed } from './crowd'
import { openFrame } from './open-frames'

/** Events that go as one message are this long at most, unless one of them alone is longer. */
const MOST_BYTES = 64 * 1024

/** Those of `all` that pass; `all` itself where every one does. */
export const those = <T>(all: readonly T[], passes: (one: T) => boolean): readonly T[] =>
  all.every(passes) ? all : all.filter(passes)

/** The frames of events, the same array for all who are given the same. */
export function framesIn(printed: readonly Printed[]): readonly Frame[] {
  const known = flat.get(printed) ?? printed.flatMap(({ frames }) => frames)
  flat.set(printed, known)
  return known
}

const flat = new WeakMap<readonly Printed[], readonly Frame[]>()

/** Frames as server-sent events in as few pieces as may be, for all who are given the same; as a public link shows them where `open`. */
export function joined(frames: readonly Frame[], open: boolean): readonly Uint8Array[] {
  const made = open ? ofLinks : ofMembers
  const known = made.get(frames)
  if (known) return known
  const shown = open ? frames.flatMap((frame) => openFrame(frame) ?? []) : frames
  const pieces = piecesOf(shown.map(({ sse }) => sse))
  made.set(frames, pieces)
  return pieces
}

const ofMembers = new WeakMap<readonly Frame[], readonly Uint8Array[]>()
const ofLinks = new WeakMap<readonly Frame[], readonly Uint8Array[]>()

function piecesOf(events: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[][] = []
  let room = 0
  for (const event of events) {
    const last = pieces.at(-1)
    if (last && event.byteLength <= room) last.push(event)
    else {
      pieces.push([event])
      room = MOST_BYTES
    }
    room -= event.byteLength
  }
  return pieces.map(inOne)
}

/** Bytes one after the other; what is one already is not copied. */
export function inOne(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  return only && parts.length === 1 ? only : concat(parts)
}
