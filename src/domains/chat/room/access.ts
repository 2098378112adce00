import { find } from '../../../data/revise'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { problem } from '../../../lib/problem'
import { type Credential, scopesNow } from '../../identity/recheck'
import { getAnsweringAgent } from '../agents/service'
import type { AnsweringAgent } from '../agents/upstreams/upstream'
import { type ChatRow, chats } from '../chats/table'
import { type Caller, chatScopes, mayEnter } from './caller'
import type { Loss } from './rights'

/** How long the object goes by its copy of the chat’s row and its agent without asking D1 (chat.md, Speed). */
const COPY_MS = 60_000

type Copy<T> = { value: T; at: number }

/** What the object knows of its chat from D1: the row, the agent, and who may do what. */
export class Access {
  private chatCopy: Copy<ChatRow> | null = null
  private agentCopy: Copy<AnsweringAgent> | null = null

  constructor(
    private readonly env: Bindings,
    private readonly ids: { tenant_id: string; chat_id: string },
  ) {}

  /** A context for what the object does on its own. */
  context(defer: (work: Promise<unknown>) => void = () => {}) {
    return systemContext(this.env, bareTenant(this.ids.tenant_id), 'chat-room', defer)
  }

  /** The chat’s row, at most a minute old; 404 where there is none, or none for this caller. */
  async chat(caller: Caller): Promise<ChatRow> {
    const chat = await this.row()
    if (!mayEnter(caller, chat.user_id)) throw problem.notFound('chat', this.ids.chat_id)
    return chat
  }

  private async row(): Promise<ChatRow> {
    if (this.chatCopy && Date.now() - this.chatCopy.at < COPY_MS) return this.chatCopy.value
    const at = Date.now()
    const value = await this.find()
    if (!value) throw problem.notFound('chat', this.ids.chat_id)
    this.chatCopy = { value, at }
    return value
  }

  /** The row as it is now. */
  find(): Promise<ChatRow | null> {
    return find(this.context(), chats, this.ids.chat_id)
  }

  /** The agent with its secrets, at most a minute old; 409 `agent_inactive` where it does not answer. */
  async agent(): Promise<AnsweringAgent> {
    if (this.agentCopy && Date.now() - this.agentCopy.at < COPY_MS) return this.agentCopy.value
    const at = Date.now()
    const { agent_id } = await this.row()
    const value = await getAnsweringAgent(this.context(), agent_id)
    if (!value?.is_active)
      throw problem('agent_inactive', value ? 'The chat’s agent is inactive' : 'The chat’s agent was deleted')
    this.agentCopy = { value, at }
    return value
  }

  /** Makes the next request look at D1 again. */
  forget(): void {
    this.chatCopy = null
    this.agentCopy = null
  }

  /** What the credentials may do to this chat now, by D1. */
  async lookUp(callers: Caller[]): Promise<Map<string, Caller | Loss>> {
    const credentials = callers.map(
      ({ key, kind, id, user_id, session_id, role }): Credential => ({
        key,
        kind,
        id,
        user_id,
        session_id,
        role,
      }),
    )
    const [chat, scopes] = await Promise.all([
      this.find(),
      scopesNow(this.env, this.ids.tenant_id, credentials, Date.now()),
    ])
    return new Map(callers.map((caller) => [caller.key, verdictOn(caller, chat, scopes.get(caller.key))]))
  }
}

function verdictOn(
  caller: Caller,
  chat: ChatRow | null,
  scopes: Iterable<string> | undefined,
): Caller | Loss {
  if (!scopes) return { code: 4401, reason: 'the credential no longer counts' }
  const now: Caller = { ...caller, scopes: chatScopes(scopes) }
  const mayRead = chat !== null && now.scopes.includes('chats:read') && mayEnter(now, chat.user_id)
  return mayRead ? now : { code: 4403, reason: 'the right to read this chat is gone' }
}
