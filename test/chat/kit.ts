import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { ChatRoom } from '../../src/domains/chat/room/object'
import { newId } from '../../src/lib/ids'
import { call, callJson, makeWorld, type Person, type World } from '../world'

// A chat with an agent that says what the test wants, when it wants it; and readers of its events.

export type Event = { id: string | null; type: string; data: Record<string, unknown> }

/** One read of a stream, as a client’s `reader.read()` gives it. */
export type Chunk = { bytes: number; text: string }

/** Reads server-sent events one by one. */
export class EventReader {
  readonly seen: Event[] = []
  readonly chunks: Chunk[] = []
  /** Bytes of the longest event: a read ends at 4 KiB wherever an event does. */
  longest = 0
  readonly comments: string[] = []
  retry: number | null = null
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>
  private readonly decoder = new TextDecoder()
  private buffer = ''
  private ready: Event[] = []

  constructor(body: ReadableStream<Uint8Array> | null) {
    if (!body) throw new Error('the answer has no body')
    this.reader = body.getReader()
  }

  /** The next event; null at the end of the stream. */
  async next(): Promise<Event | null> {
    for (;;) {
      const event = this.ready.shift()
      if (event) {
        this.seen.push(event)
        return event
      }
      const { done, value } = await this.reader.read()
      if (done) return null
      const text = this.decoder.decode(value, { stream: true })
      this.chunks.push({ bytes: value.byteLength, text })
      this.take(text)
    }
  }

  private take(text: string): void {
    const blocks = (this.buffer + text).split('\n\n')
    this.buffer = blocks.pop() ?? ''
    for (const block of blocks) {
      let id: string | null = null
      let data: string | null = null
      for (const line of block.split('\n')) {
        if (line.startsWith('id: ')) id = line.slice(4)
        else if (line.startsWith('data: ')) data = line.slice(6)
        else if (line.startsWith('retry: ')) this.retry = Number(line.slice(7))
        else if (line.startsWith(':')) this.comments.push(line)
        // One that stands alone is no event.
        else if (line !== '') throw new Error(`not a line of an event stream: ${line}`)
      }
      if (data !== null) this.ready.push({ id, ...JSON.parse(data) })
      this.longest = Math.max(this.longest, new TextEncoder().encode(`${block}\n\n`).byteLength)
    }
  }

  /** Reads on to the next event of one of these types. */
  async until(...types: string[]): Promise<Event> {
    for (let event = await this.next(); event; event = await this.next())
      if (types.includes(event.type)) return event
    throw new Error(`the stream ended before ${types.join(' or ')}`)
  }

  /** All that is left. */
  async rest(): Promise<Event[]> {
    const events: Event[] = []
    for (let event = await this.next(); event; event = await this.next()) events.push(event)
    return events
  }

  leave(): Promise<void> {
    return this.reader.cancel()
  }
}

/** The text a reader knows after these events: the newest message of its last snapshot, and what came since. */
export function textOf(events: Event[]): string {
  let text = ''
  for (const { type, data } of events) {
    if (type === 'snapshot' || type === 'reset') text = lastContent(data)
    else if (type === 'message.created') text = data.role === 'assistant' ? '' : text
    else if (type === 'message') text += data.content
  }
  return text
}

const lastContent = (snapshot: Record<string, unknown>): string =>
  (snapshot.messages as { content: string }[]).at(-1)?.content ?? ''

/** A webhook agent whose words the test sends one by one. */
export class Gate {
  readonly key = newId(Date.now())
  readonly url = `${env.RECEIVER_URL}/upstream/gate/${this.key}`

  async say(...texts: string[]): Promise<void> {
    for (const content of texts) await this.raw(`data: ${JSON.stringify({ content })}\n\n`)
  }

  raw(body: string): Promise<void> {
    return this.operate('write', body)
  }

  end(): Promise<void> {
    return this.operate('end')
  }

  reset(): Promise<void> {
    return this.operate('reset')
  }

  private async operate(act: string, body = ''): Promise<void> {
    const answer = await fetch(`${this.url}/${act}`, { method: 'POST', body })
    await answer.arrayBuffer()
    if (answer.status !== 204) throw new Error(`the gate is not open: ${answer.status}`)
  }
}

/** A chat of one person with one agent. */
export class TestChat {
  constructor(
    readonly world: World,
    readonly person: Person,
    readonly id: string,
    readonly agentId: string,
  ) {}

  get path(): string {
    return `/api/v1/chats/${this.id}`
  }

  get name(): string {
    return `${this.world.tenant.id}/${this.id}`
  }

  get ids() {
    return { tenant_id: this.world.tenant.id, chat_id: this.id }
  }

  get stub(): DurableObjectStub<ChatRoom> {
    return env.CHATS.getByName(this.name)
  }

  /** Runs `work` inside the chat’s object. */
  inObject<T>(work: (object: ChatRoom, state: DurableObjectState) => T | Promise<T>): Promise<T> {
    return runInDurableObject(this.stub as never, work as never) as Promise<T>
  }

  /** Makes the object forget all it holds in memory, as after a long sleep; a run must not be going on. */
  async forget(): Promise<void> {
    await this.inObject((object) => void object.furnish(this.ids))
  }

  post(
    body: unknown,
    headers: Record<string, string> = {},
    token = this.person.token,
    query = '',
  ): Promise<Response> {
    return call('POST', `${this.path}/messages${query}`, { token, body, headers })
  }

  /** Sends a message and reads its stream. */
  async send(content: string, more: Record<string, unknown> = {}): Promise<EventReader> {
    const answer = await this.post({ content, ...more })
    if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`)
    return new EventReader(answer.body)
  }

  /** Sends a message and waits for the whole answer. */
  async exchange(content: string, more: Record<string, unknown> = {}): Promise<Event[]> {
    return (await this.send(content, more)).rest()
  }

  stream(headers: Record<string, string> = {}, query = '', token = this.person.token): Promise<Response> {
    return call('GET', `${this.path}/stream${query}`, { token, headers })
  }

  async follow(lastEventId?: string): Promise<EventReader> {
    const answer = await this.stream(lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId })
    if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`)
    return new EventReader(answer.body)
  }

  stop(body?: unknown, token = this.person.token) {
    return callJson<{ stopped: boolean; run_id: string | null }>('POST', `${this.path}/stop`, {
      token,
      ...(body === undefined ? {} : { body }),
    })
  }

  read(token = this.person.token) {
    return callJson<ReadChat>('GET', this.path, { token })
  }

  /** The whole log, page by page. */
  async log(limit = 100): Promise<Event[]> {
    const events: Event[] = []
    for (let after: string | null = ''; after !== null; ) {
      const query: string = `?limit=${limit}${after === '' ? '' : `&after=${after}`}`
      const page = await callJson<Event[]>('GET', `${this.path}/events${query}`, { token: this.person.token })
      if (page.status !== 200) throw new Error(JSON.stringify(page.error))
      events.push(...page.data)
      after = page.meta.next_cursor as string | null
    }
    return events
  }

  async socket(query = '', token = this.person.token): Promise<Socket> {
    const answer = await call('GET', `${this.path}/ws${query}`, { token, headers: { Upgrade: 'websocket' } })
    if (!answer.webSocket) throw new Error(`${answer.status}: ${await answer.text()}`)
    return new Socket(answer.webSocket)
  }
}

export type ReadChat = {
  id: string
  title: string | null
  message_count: number
  last_message_at: string | null
  messages: {
    id: string
    parent_id: string | null
    role: string
    content: string
    status: string
    run_id: string
    metadata: Record<string, unknown>
  }[]
}

/** A client’s WebSocket: what it was sent, in order, and how much that was. */
export class Socket {
  readonly seen: Event[] = []
  bytes = 0
  /** The last id that it was sent. */
  last: string | null = null
  /** Acknowledges whenever so many bytes have come, the first event at once; null for a client that knows nothing of it. */
  private every: number | null = null
  private due = 0
  readonly closed: Promise<{ code: number; reason: string }>
  private waiting: (() => void)[] = []
  private at = 0
  private over = false

  constructor(readonly ws: WebSocket) {
    const { promise, resolve } = Promise.withResolvers<{ code: number; reason: string }>()
    this.closed = promise
    ws.addEventListener('message', ({ data }) => {
      this.bytes += new TextEncoder().encode(String(data)).byteLength
      this.seen.push(data === 'pong' ? { id: null, type: 'pong', data: {} } : JSON.parse(String(data)))
      this.last = this.seen.at(-1)?.id ?? this.last
      this.acknowledgeIfDue()
      this.wake()
    })
    ws.addEventListener('close', ({ code, reason }) => {
      this.over = true
      resolve({ code, reason })
      this.wake()
    })
    ws.accept()
  }

  /** Acknowledges all there is, and from now on as the documentation says. */
  acknowledging(every = 64 * 1024): this {
    this.every = every
    this.due = 0
    this.acknowledgeIfDue()
    return this
  }

  ack(last_event_id = this.last): void {
    this.send('ack', { last_event_id })
  }

  private acknowledgeIfDue(): void {
    if (this.every === null || this.bytes < this.due || !this.seen.at(-1)?.id) return
    if (this.ws.readyState !== WebSocket.OPEN) return
    this.due = this.bytes + this.every
    this.ack()
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve()
  }

  send(type: string, data?: unknown): void {
    this.ws.send(JSON.stringify(data === undefined ? { type } : { type, data }))
  }

  async until(...types: string[]): Promise<Event> {
    for (;;) {
      while (this.at < this.seen.length) {
        const event = this.seen[this.at++] as Event
        if (types.includes(event.type)) return event
      }
      if (this.over) throw new Error(`the socket closed before ${types.join(' or ')}`)
      await new Promise<void>((resolve) => this.waiting.push(resolve))
    }
  }
}

/** A tenant with a webhook agent at `url` and a member’s chat with it. */
export async function chatAt(url: string, world?: World): Promise<TestChat> {
  const w = world ?? (await makeWorld())
  return chatWith(w, { name: 'Agent', kind: 'webhook', webhook_url: url })
}

/** The same with a gate to speak through. */
export async function gatedChat(world?: World): Promise<{ chat: TestChat; gate: Gate }> {
  const gate = new Gate()
  return { chat: await chatAt(gate.url, world), gate }
}

export async function chatWith(
  world: World,
  agent: Record<string, unknown>,
  more: Record<string, unknown> = {},
): Promise<TestChat> {
  const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
    token: world.admin.token,
    body: agent,
  })
  if (made.status !== 201) throw new Error(JSON.stringify(made.error))
  return openChat(world, world.member, made.data.id, more)
}

export async function openChat(
  world: World,
  person: Person,
  agentId: string,
  more: Record<string, unknown> = {},
): Promise<TestChat> {
  const { status, data, error } = await callJson<{ id: string }>('POST', '/api/v1/chats', {
    token: person.token,
    body: { agent_id: agentId, ...more },
  })
  if (status !== 201) throw new Error(JSON.stringify(error))
  return new TestChat(world, person, data.id, agentId)
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Waits until `look` answers something true. */
export async function eventually<T>(look: () => Promise<T> | T, ms = 20_000): Promise<NonNullable<T>> {
  for (const end = Date.now() + ms; ; await sleep(10)) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error('it did not come to pass')
  }
}
