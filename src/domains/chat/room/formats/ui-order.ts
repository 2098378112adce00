import { problem } from '../../../../lib/problem'
import type { Caller } from '../caller'
import type { Conversation } from '../log/conversation'
import type { Room } from '../room'
import type { Ordered } from '../runs/order'
import { senderOf } from '../runs/runs'
import type { Store } from '../store'

/**
 * What the AI SDK’s client asks for besides a new message. It names messages by ids of its own: those of its user’s
 * messages it made, those of answers are the chat’s.
 */
export type UiOrder = {
  kind: 'ui'
  trigger: 'submit-message' | 'regenerate-message'
  /** The message that is to be said differently, or answered anew. */
  target: string | null
  /** The user’s last message, as the client has it. */
  last: { id: string; content: string; attachments?: string[] | undefined } | null
  client_message_id?: string
}

/** The order in the chat’s own terms; 404 where the chat does not know what is meant. */
export async function ordered(room: Room, caller: Caller, input: Ordered | UiOrder): Promise<Ordered> {
  if (input.kind !== 'ui') return input
  // Who may not write here is told nothing of what is here.
  await room.access.chat(caller, 'editor')
  const { trigger, target, last, client_message_id } = input
  const key = client_message_id === undefined ? {} : { client_message_id }
  const tree = new Branch(room, caller)
  const named = target === null ? null : tree.find(target)
  if (trigger === 'submit-message' && named && last && !tree.says(named, last)) {
    const { content, attachments } = last
    return { kind: 'edit', message_id: named, content, attachments, ...key }
  }
  const again = named ?? (trigger === 'regenerate-message' && last ? tree.find(last.id) : null)
  // A message by the chat’s own id is there already: it is asked to be answered.
  const asked = again ?? (last && room.conversation.has(last.id) ? last.id : null)
  if (asked) return { kind: 'regenerate', message_id: asked, ...key }
  // A message that never arrived is sent, whatever was to become of it.
  if (last) {
    const { id, ...said } = last
    return { kind: 'send', ...said, client_message_id: id }
  }
  throw problem.notFound('message', target ?? '')
}

/** Messages by the names that a client has for them. */
class Branch {
  private readonly store: Store
  private readonly conversation: Conversation

  constructor(
    private readonly room: Room,
    private readonly caller: Caller,
  ) {
    this.store = room.store
    this.conversation = room.conversation
  }

  /** The message that an id means: for one that was said differently since, what stands in its place. */
  find(id: string): string | null {
    if (this.conversation.has(id)) return id
    const sent = this.conversation.runOf(senderOf(this.caller), id)
    return sent && (this.shownInPlaceOf(sent.message_id) ?? sent.message_id)
  }

  /** Whether a message says that already. */
  says(id: string, { content, attachments }: NonNullable<UiOrder['last']>): boolean {
    const message = this.conversation.message(id, this.room.log)
    const files = message?.attachments.map((file) => file.id)
    return message?.content === content && (!attachments || String(attachments) === String(files))
  }

  private shownInPlaceOf(id: string): string | null {
    const found = this.store.row<{ id: string }>(
      `with recursive shown (id, parent_id) as (
         select id, parent_id from messages where id = ?
         union all
         select messages.id, messages.parent_id from messages join shown on messages.id = shown.parent_id)
       select id from shown where parent_id is (select parent_id from messages where id = ?)`,
      this.conversation.leaf,
      id,
    )
    return found?.id ?? null
  }
}
