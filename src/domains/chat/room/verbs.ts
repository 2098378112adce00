import type { ListedMessage, LoggedEvent, Message, SendMessage, Stopped } from '../messages/schema'
import type { Caller } from './caller'
import type { Answer } from './refusal'

// What the Worker asks of a chat’s object, and in which words.

type Ids = { tenant_id: string; chat_id: string }

export type Call = Ids & { caller: Caller; traceparent: string }

export type PostedMessage = { call: Call; input: SendMessage; answer: 'stream' | 'exchange' | 'started' }

export type ReadRoom = { title: string | null; messages: Message[]; messages_complete: boolean; seq: number }

/** What opens a socket: `sse` for the Worker that holds a client’s response, `ws` for a client’s own. */
export type SocketCall = Call & { format: 'sse' | 'ws'; cursor: string | null }

/** Carries a SocketCall, percent-encoded: an upgrade has no body. */
export const CALL_HEADER = 'X-Room-Call'
/** Marks an answer that is a refusal. */
export const REFUSED = 'X-Room-Refused'

/** The object’s methods as the Worker calls them. */
export interface RoomVerbs {
  fetch(request: Request): Promise<Response>
  read(call: Call): Promise<Answer<ReadRoom>>
  lastExchange(call: Call): Promise<Answer<ListedMessage[]>>
  events(
    call: Call,
    input: { after: string | null; limit: number },
  ): Promise<Answer<{ items: LoggedEvent[]; next_cursor: string | null }>>
  stop(call: Call, runId: string | undefined): Promise<Answer<Stopped>>
  retitle(ids: Ids, title: string): Promise<Answer<void>>
  forget(ids: Ids): Promise<Answer<void>>
  recheck(ids: Ids): Promise<Answer<void>>
  expectRemoval(ids: Ids): Promise<Answer<void>>
  remove(ids: Ids): Promise<Answer<void>>
  erase(ids: Ids): Promise<Answer<void>>
}
