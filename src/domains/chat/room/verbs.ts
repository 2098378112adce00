import { isUuid } from '../../../lib/ids'
import type { BranchMessage } from '../messages/schema'
import type { Asked, AskedInput, AskedOutput, Told, ToldInput, ToldOutput } from './asked'
import type { Caller } from './caller'
import type { FormatName } from './formats/format'
import type { UiOrder } from './formats/ui-order'
import type { Answer } from './refusal'
import type { Ordered } from './runs/order'

// What the Worker asks of a chat’s object, and in which words.

export type Ids = { tenant_id: string; chat_id: string }

/** The tenant and chat that the object’s name says. */
export function idsOf(name: string | undefined): Ids | null {
  const [tenant_id = '', chat_id = '', ...rest] = name?.split('/') ?? []
  return isUuid(tenant_id) && isUuid(chat_id) && rest.length === 0 ? { tenant_id, chat_id } : null
}

export type Call = Ids & { caller: Caller; traceparent: string }

export type PostedMessage = {
  call: Call
  input: Ordered | UiOrder
  answer: 'stream' | 'exchange' | 'started'
  format: FormatName
  /** The agent that is to answer, where the caller names it. */
  agent_id?: string
}

/** Asks for the run that goes on, as a stream of its own. */
export type FollowedRun = { call: Call; format: FormatName }

export type ReadRoom = {
  title: string | null
  messages: BranchMessage[]
  messages_complete: boolean
  seq: number
}

/** What opens a socket: `sse` for the Worker that holds a client’s response, `ws` for a client’s own. */
export type SocketCall = Call & { format: 'sse' | 'ws'; cursor: string | null }

/** Carries a SocketCall, percent-encoded: an upgrade has no body. */
export const CALL_HEADER = 'X-Room-Call'
/** Where a FollowedRun is posted to. */
export const RUN_PATH = '/run'
/** Where the stream of a lane is fetched; its word is the call. */
export const LANE_PATH = '/lane'
/** Marks an answer that is a refusal. */
export const REFUSED = 'X-Room-Refused'

/** The object’s methods as the Worker calls them; what there is to ask and to tell stands in asked.ts. */
export interface RoomVerbs {
  fetch(request: Request): Promise<Response>
  ask<K extends Asked>(call: Call, verb: K, ...input: AskedInput<K>): Promise<Answer<AskedOutput<K>>>
  tell<K extends Told>(ids: Ids, word: K, ...input: ToldInput<K>): Promise<Answer<ToldOutput<K>>>
}
