import { DurableObject } from 'cloudflare:workers'
import { type Bindings, settingsOf } from '../../../env'
import { isUuid } from '../../../lib/ids'
import { log as logger } from '../../../lib/log'
import { Problem, problem } from '../../../lib/problem'
import { countFrame } from '../../metering/limits/frames'
import { OpenStreams } from '../../metering/limits/open-streams'
import type { StreamReport } from '../../metering/meter/streams'
import { StreamUsage } from '../../metering/usage/streamed'
import type { Caller } from './caller'
import { Inbox } from './inbox'
import { lineUp } from './line-up'
import { STREAMS } from './passed'
import { parseCursor } from './protocol'
import { type Answer, answering, refusalOf } from './refusal'
import { type Ids, Room, type Seams } from './room'
import { RunReader } from './run-reader'
import { type Attachment, SocketReader } from './socket-reader'
import { RETRY, SSE_HEADERS } from './sse'
import { CALL_HEADER, type Call, type PostedMessage, REFUSED, type RoomVerbs, type SocketCall } from './verbs'

/** The Durable Object of one chat: its name says which; everything else is done by `Room`. */
export class ChatRoom extends DurableObject<Bindings> implements RoomVerbs {
  private room: Room | null = null
  private inbox: Inbox | null = null
  private streams: OpenStreams | null = null
  private usage: StreamUsage | null = null
  private readonly sockets = new Map<WebSocket, SocketReader>()

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    lineUp(settingsOf(env).development)
    this.ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'))
    const ids = idsOf(this.ctx.id.name)
    if (ids) this.furnish(ids)
  }

  /** Sets the room up from what is stored, with everyone whose socket is still open. */
  furnish(ids: Ids, seams?: Seams): Room {
    const room = new Room(this.ctx.storage, this.env, ids, seams)
    this.room = room
    this.inbox = new Inbox(room, (caller, kind) =>
      countFrame(this.env, ids.tenant_id, caller, kind, (work) => void work.catch(() => {})),
    )
    const holder = `${ids.tenant_id}/${ids.chat_id}`
    this.streams = new OpenStreams(this.env, ids.tenant_id, holder, () => this.open)
    for (const reader of this.sockets.values()) reader.leave()
    this.sockets.clear()
    for (const socket of this.ctx.getWebSockets()) {
      const reader = this.readerOf(socket)
      if (reader.lost) reader.backlog = room.snapshot('reset')
      room.audience.add(reader)
    }
    try {
      room.wake()
    } catch (error) {
      // What could not be ended must not keep the chat from being read.
      logger.error('chat_wake_failed', { chat_id: ids.chat_id, cause: String(error) })
    }
    return room
  }

  /** Sockets that are not closed, or being closed: who does not read does not answer that either. */
  private get open(): number {
    return [...this.sockets.values()].filter((reader) => reader.open).length
  }

  private readerOf(socket: WebSocket): SocketReader {
    const known = this.sockets.get(socket)
    if (known) return known
    const { caller } = socket.deserializeAttachment() as Attachment
    const reader = new SocketReader(socket, {
      gone: (one) => {
        this.room?.audience.remove(one)
        void this.streams?.tell()
      },
      firstAckMs: this.room?.firstAckMs,
      count: this.counting(caller, 'ws'),
    })
    this.sockets.set(socket, reader)
    return reader
  }

  private counting(caller: Caller, stream: keyof typeof STREAMS) {
    this.usage ??= new StreamUsage(this.env, idsOf(this.ctx.id.name)?.tenant_id ?? '')
    return this.usage.of({ kind: caller.kind, id: caller.id, ...STREAMS[stream] })
  }

  /** The room, if it is the one that the call is for. */
  private enter({ tenant_id, chat_id }: Ids): Room {
    const room = this.room
    if (!room || room.ids.tenant_id !== tenant_id || room.ids.chat_id !== chat_id)
      throw problem.notFound('chat', chat_id)
    return room
  }

  override async fetch(request: Request): Promise<Response> {
    try {
      if (request.headers.get('Upgrade') === 'websocket') return await this.openSocket(request)
      return await this.takeMessage(request)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      return Response.json(refusalOf(error), { status: error.status, headers: { [REFUSED]: '1' } })
    }
  }

  private async takeMessage(request: Request): Promise<Response> {
    const { call, input, answer } = await request.json<PostedMessage>()
    const room = this.enter(call)
    const { caller, traceparent } = call
    const { run, replayed } = await room.send({ caller, traceparent, input })
    const headers: Record<string, string> = replayed ? { 'Idempotency-Replayed': 'true' } : {}
    if (answer === 'exchange') return Response.json(await room.exchange(caller, run.id), { headers })
    if (answer === 'started') {
      const status = room.conversation.message(run.answer_id, room.log)?.status ?? 'streaming'
      return Response.json({ run_id: run.id, message_id: run.answer_id, status }, { headers })
    }
    const on = {
      wantsMore: (one: RunReader) => room.audience.pull(one),
      gone: (one: RunReader) => room.audience.remove(one),
    }
    const reader = new RunReader(caller, run, on, { count: this.counting(caller, 'messages') })
    request.signal.addEventListener('abort', () => reader.leave())
    reader.greet(RETRY)
    reader.backlog = room.audience.after(run.first_seq, reader)
    room.audience.add(reader)
    return new Response(reader.readable, { headers: { ...SSE_HEADERS, ...headers } })
  }

  private async openSocket(request: Request): Promise<Response> {
    const { format, cursor, ...call } = JSON.parse(
      decodeURIComponent(request.headers.get(CALL_HEADER) ?? ''),
    ) as SocketCall
    const room = this.enter(call)
    const { count } = room.rights
    await room.access.chat(call.caller)
    room.rights.admit(call.caller, Date.now(), count)
    const { 0: client, 1: socket } = new WebSocketPair()
    await this.streams?.admit(() => {
      this.ctx.acceptWebSocket(socket)
      socket.serializeAttachment({ caller: call.caller, format, behind: false } satisfies Attachment)
      room.follow(this.readerOf(socket), cursor)
      room.ends.expect()
    })
    return new Response(null, { status: 101, webSocket: client })
  }

  override async webSocketMessage(socket: WebSocket, frame: string | ArrayBuffer): Promise<void> {
    const room = this.room
    if (!room) return
    const reader = this.readerOf(socket)
    if (reader.format === 'ws') return this.inbox?.receive(reader, frame)
    // From the Worker that holds a client’s stream: its reader has taken all, or has lost some for being slow.
    reader.go()
    if (frame === 'more') return room.audience.pull(reader)
    socket.send('fresh')
    reader.backlog = room.snapshot('reset')
    room.audience.pull(reader)
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    const told = this.drop(socket)
    try {
      // 1005 and 1006 say that there was no code, and can’t be sent.
      socket.close(code === 1005 || code === 1006 ? 1000 : code)
    } catch {
      // It was closed from this side.
    }
    await told
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.drop(socket)
  }

  private async drop(socket: WebSocket): Promise<void> {
    const reader = this.sockets.get(socket)
    reader?.leave()
    if (reader) this.room?.audience.remove(reader)
    if (this.sockets.delete(socket)) await this.streams?.tell()
  }

  /** How many streams and sockets it holds, for the tenant's Meter. */
  openStreams(): StreamReport {
    const name = this.ctx.id.name ?? ''
    return this.streams?.report() ?? { holder: name, life: '', sequence: 0, open: 0 }
  }

  override async alarm(): Promise<void> {
    await this.room?.alarm()
  }

  /** Whether objects answer at all. */
  ping(): string {
    return 'pong'
  }

  // Verbs for the Worker; a refusal is answered, not thrown.

  read(call: Call) {
    return answering(() => this.enter(call).read(call.caller))
  }

  lastExchange(call: Call) {
    return answering(() => this.enter(call).lastExchange(call.caller))
  }

  events(call: Call, input: { after: string | null; limit: number }) {
    const after = input.after === null ? null : parseCursor(input.after)
    return answering(() => this.enter(call).events(call.caller, after, input.limit))
  }

  stop(call: Call, runId: string | undefined) {
    return answering(() => this.enter(call).stop(call.caller, runId))
  }

  retitle(ids: Ids, title: string): Promise<Answer<void>> {
    return answering(() => this.enter(ids).retitle(title))
  }

  forget(ids: Ids): Promise<Answer<void>> {
    return answering(() => this.enter(ids).access.forget())
  }

  recheck(ids: Ids): Promise<Answer<void>> {
    return answering(() => this.enter(ids).ends.recheck())
  }

  expectRemoval(ids: Ids): Promise<Answer<void>> {
    return answering(() => this.enter(ids).expectRemoval())
  }

  remove(ids: Ids): Promise<Answer<void>> {
    return answering(() => this.enter(ids).remove())
  }

  erase(ids: Ids): Promise<Answer<void>> {
    return answering(() => this.enter(ids).erase())
  }
}

/** The tenant and chat that the object’s name says. */
function idsOf(name: string | undefined): Ids | null {
  const [tenant_id = '', chat_id = '', ...rest] = name?.split('/') ?? []
  return isUuid(tenant_id) && isUuid(chat_id) && rest.length === 0 ? { tenant_id, chat_id } : null
}
