import type { GiveFeedback } from '../messages/schema'
import type { RunEvents } from '../runs/schema'
import { activate, type Edit, edit, giveFeedback } from './log/edits'
import { type Planted, plant } from './log/planting'
import { parseCursor } from './log/protocol'
import { branchTo, messagesPage } from './log/tree'
import type { Room } from './room'
import { takeRunEvents } from './runs/run-events'
import type { Call, Ids } from './verbs'

// What a chat’s object can be asked and told: a verb is one line here, and what it does stands in a file of its own.

/** What callers ask; each verb checks for itself what the caller may do. */
export const ASKED = {
  read: (room: Room, { caller }: Call) => room.read(caller),
  lastExchange: (room: Room, { caller }: Call) => room.lastExchange(caller),
  events: (room: Room, { caller }: Call, input: { after: string | null; limit: number }) =>
    room.events(caller, input.after === null ? null : parseCursor(input.after), input.limit),
  stop: (room: Room, { caller }: Call, input: { run_id: string | undefined }) =>
    room.stop(caller, input.run_id),
  markRead: (room: Room, { caller }: Call, input: { seq: number | undefined }) =>
    room.people.read(caller, input.seq),
  reads: (room: Room, { caller }: Call, input: { after: string; limit: number }) =>
    room.people.reads(caller, input.after, input.limit),
  types: (room: Room, { caller }: Call, input: { typing: boolean }) =>
    room.people.types(caller, input.typing),
  messages: (room: Room, { caller }: Call, input: { after: string | null; limit: number }) =>
    messagesPage(room, caller, input),
  edit: (room: Room, { caller }: Call, input: Edit) => edit(room, caller, input),
  activate: (room: Room, { caller }: Call, input: { message_id: string }) =>
    activate(room, caller, input.message_id),
  branchTo: (room: Room, { caller }: Call, input: { message_id: string }) =>
    branchTo(room, caller, input.message_id),
  giveFeedback: (room: Room, { caller }: Call, input: GiveFeedback) => giveFeedback(room, caller, input),
}

/** What the service itself tells it, whoever caused that. */
export const TOLD = {
  runEvents: (room: Room, _: Ids, { run_id, ...input }: RunEvents & { run_id: string }) =>
    takeRunEvents(room, run_id, input),
  plant: (room: Room, _: Ids, planted: Planted) => plant(room, planted),
  retitle: (room: Room, _: Ids, title: string) => room.retitle(title),
  forget: (room: Room) => room.access.forget(),
  recheck: (room: Room) => room.ends.recheck(),
  expectRemoval: (room: Room) => room.expectRemoval(),
  remove: (room: Room) => room.remove(),
  erase: (room: Room) => room.erase(),
}

type Verbs = Record<string, (room: Room, call: never, input: never) => unknown>

/** What a verb takes; nothing for most. */
type InputOf<V extends Verbs, K extends keyof V> =
  Parameters<V[K]> extends [Room, unknown, infer I] ? [I] : []
type OutputOf<V extends Verbs, K extends keyof V> = Awaited<ReturnType<V[K]>>

export type Asked = keyof typeof ASKED
export type AskedInput<K extends Asked> = InputOf<typeof ASKED, K>
export type AskedOutput<K extends Asked> = OutputOf<typeof ASKED, K>
export type Told = keyof typeof TOLD
export type ToldInput<K extends Told> = InputOf<typeof TOLD, K>
export type ToldOutput<K extends Told> = OutputOf<typeof TOLD, K>
