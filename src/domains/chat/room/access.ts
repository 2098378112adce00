import { find } from '../../../data/revise'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { problem } from '../../../lib/problem'
import { type Credential, scopesNow } from '../../identity/recheck'
import { GONE, isLoss, type Loss } from '../../realtime/rights'
import { getAnsweringAgent, mustAnswer } from '../agents/service'
import type { AnsweringAgent } from '../agents/upstreams/upstream'
import { filesOfChat } from '../attachments/named'
import type { Attachment } from '../attachments/schema'
import { type ChatRow, chats } from '../chats/table'
import { enter, type Grant, grantOfLink, grantsOf, type Level, userOf } from '../shares/standing'
import { type Caller, chatScopes, mayEnter } from './caller'

/** How long the object goes by its copy of the chat’s row and its agent without asking D1 (chat.md, Speed). */
const COPY_MS = 60_000

type Copy<T> = { value: T; at: number }

/** What the object knows of its chat from D1: the row, the agent, and who may do what. */
export class Access {
  private chatCopy: Copy<ChatRow> | null = null
  private agentCopy: Copy<AnsweringAgent> | null = null
  /** When the first of the shares ends that somebody came in by; null where none does. */
  endsAt: number | null = null
  /** Counts what was forgotten: what was read before that may not be so any more, and is read again. */
  private forgotten = 0

  constructor(
    private readonly env: Bindings,
    private readonly ids: { tenant_id: string; chat_id: string },
  ) {}

  /** A context for what the object does on its own. */
  context(defer: (work: Promise<unknown>) => void = () => {}) {
    return systemContext(this.env, bareTenant(this.ids.tenant_id), 'chat-room', defer)
  }

  /**
   * The chat’s row, at most a minute old; 404 where there is none, or none for this caller, 403 where it is shared with
   * the caller for less. Shares are looked up each time.
   */
  async chat(caller: Caller, required?: Level): Promise<ChatRow> {
    const chat = await this.row()
    if (mayEnter(caller, chat.user_id)) return chat
    const grant = await (caller.link !== undefined
      ? this.byLink(caller)
      : enter(this.context(), caller, chat, required))
    if (caller.link !== undefined && (!grant || (required ?? 'viewer') !== 'viewer'))
      throw problem.notFound('chat', chat.id)
    this.noteEnd(grant)
    return chat
  }

  private noteEnd(grant: Grant | null | undefined): void {
    if (!grant?.until) return
    this.endsAt = Math.min(this.endsAt ?? Number.POSITIVE_INFINITY, Date.parse(grant.until))
  }

  /** The title of the chat’s row when it was last read; what was said since is known better to the log. */
  get title(): string | null {
    return this.chatCopy?.value.title ?? null
  }

  private async row(): Promise<ChatRow> {
    if (this.chatCopy && Date.now() - this.chatCopy.at < COPY_MS) return this.chatCopy.value
    const at = Date.now()
    const { forgotten } = this
    const value = await this.find()
    if (forgotten !== this.forgotten) return this.row()
    if (!value) throw problem.notFound('chat', this.ids.chat_id)
    this.chatCopy = { value, at }
    return value
  }

  /** The row as it is now. */
  find(): Promise<ChatRow | null> {
    return find(this.context(), chats, this.ids.chat_id)
  }

  /** The agent with its secrets, at most a minute old; 409 `agent_inactive`, `agent_on_calls_only` where it does not answer. */
  async agent(): Promise<AnsweringAgent> {
    if (this.agentCopy && Date.now() - this.agentCopy.at < COPY_MS) return this.agentCopy.value
    const at = Date.now()
    const { forgotten } = this
    const { agent_id } = await this.row()
    const value = await getAnsweringAgent(this.context(), agent_id)
    if (forgotten !== this.forgotten) return this.agent()
    if (!value?.is_active)
      throw problem('agent_inactive', value ? 'The chat’s agent is inactive' : 'The chat’s agent was deleted')
    mustAnswer(value)
    this.agentCopy = { value, at }
    return value
  }

  /** Those of the files that the chat has; without any, D1 is not asked. */
  files(ids: readonly string[]): Promise<ReadonlyMap<string, Attachment>> {
    return filesOfChat(this.context(), this.ids.chat_id, ids)
  }

  /** Makes the next request look at D1 again. */
  forget(): void {
    this.forgotten += 1
    this.chatCopy = null
    this.agentCopy = null
  }

  private byLink({ link = '' }: Caller): Promise<Grant | null> {
    return grantOfLink(this.context(), this.ids.chat_id, link)
  }

  /** What the credentials may do to this chat now, by D1. */
  async lookUp(all: Caller[]): Promise<Map<string, Caller | Loss>> {
    const callers = all.filter(({ link }) => link === undefined)
    const found = callers.length > 0 ? await this.lookUpPeople(callers) : new Map<string, Caller | Loss>()
    for (const one of all.filter(({ link }) => link !== undefined)) {
      const grant = await this.byLink(one)
      this.noteEnd(grant)
      found.set(one.key, grant ? one : NO_RIGHT)
    }
    return found
  }

  private async lookUpPeople(callers: Caller[]): Promise<Map<string, Caller | Loss>> {
    const credentials = callers.map(
      ({ key, kind, id, user_id, session_id, role, impersonator }): Credential => ({
        ...{ key, kind, id, user_id, session_id, role },
        ...(impersonator ? { impersonator } : {}),
      }),
    )
    const [chat, scopes] = await Promise.all([
      this.find(),
      scopesNow(this.env, this.ids.tenant_id, credentials, Date.now()),
    ])
    const standing = callers.map((caller) => asOfNow(caller, scopes.get(caller.key)))
    const sharing = standing.filter((one) => !isLoss(one) && chat && !mayEnter(one, chat.user_id)) as Caller[]
    const grants = sharing.length > 0 ? await this.grants(sharing) : new Map<string, Grant>()
    const mayRead = (one: Caller) => chat && (mayEnter(one, chat.user_id) || grants.has(userOf(one)))
    return new Map(
      standing.map((one, i) => [callers[i]?.key ?? '', isLoss(one) || mayRead(one) ? one : NO_RIGHT]),
    )
  }

  private async grants(callers: Caller[]): Promise<Map<string, Grant>> {
    const grants = await grantsOf(this.context(), this.ids.chat_id, callers.map(userOf))
    for (const grant of grants.values()) this.noteEnd(grant)
    return grants
  }
}

const NO_RIGHT: Loss = { code: 4403, reason: 'the right to read this chat is gone' }

/** The caller with the scopes that the credential has now, where it still counts and may read chats at all. */
function asOfNow(caller: Caller, scopes: Iterable<string> | undefined): Caller | Loss {
  if (!scopes) return GONE
  const now: Caller = { ...caller, scopes: chatScopes(scopes) }
  return now.scopes.includes('chats:read') ? now : NO_RIGHT
}
