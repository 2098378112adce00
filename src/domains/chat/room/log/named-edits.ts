import type { Room } from '../room'

// An edit in place leaves no message of its own that could say by which name it was made. The room keeps the names of the
// last ones, so that a repeat does not put back what another has changed since.

const KEY = 'named_edits'
const KEPT = 50

type Named = { name: string; print: string }

const namedEdits = (room: Room): Named[] => JSON.parse(room.store.get(KEY) ?? '[]')

/** The print of what the edit of that name said; null where none is known. */
export const printOfEdit = (room: Room, name: string): string | null =>
  namedEdits(room).find((one) => one.name === name)?.print ?? null

/** Keeps an edit's name and print; within the change that makes it. */
export function keepEdit(room: Room, named: Named): void {
  room.store.set(KEY, JSON.stringify([...namedEdits(room), named].slice(-KEPT)))
}
