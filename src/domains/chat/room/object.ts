import { DurableObject } from 'cloudflare:workers'
import { type Bindings, settingsOf } from '../../../env'
import { log as logger } from '../../../lib/log'
import { Problem, problem } from '../../../lib/problem'
import { countFrame } from '../../metering/limits/frames'
import { OpenStreams } from '../../metering/limits/open-streams'
import type { StreamReport } from '../../metering/meter/streams'
import { StreamUsage } from '../../metering/usage/streamed'
import {
  ASKED,
  type Asked,
  type AskedInput,
  type AskedOutput,
  TOLD,
  type Told,
  type ToldInput,
  type ToldOutput,
} from './asked'
import type { Caller } from './caller'
import { Inbox } from './inbox'
import type { Attachment } from './readers/attachment'
import { Followers } from './readers/followers'
import { Lanes } from './readers/lanes'
import { lineUp } from './readers/line-up'
import { orderedBy, STREAMS } from './readers/passed'
import { SocketReader } from './readers/socket-reader'
import { type Answer, answering, refusalOf } from './refusal'
import { Room, type Seams } from './room'
import { takeOrder } from './runs/taking'
import {
  CALL_HEADER,
  type Call,
  type FollowedRun,
  type Ids,
  idsOf,
  LANE_PATH,
  type PostedMessage,
  REFUSED,
  type RoomVerbs,
  RUN_PATH,
  type SocketCall,
} from './verbs'

/** The Durable Object of one chat: its name says which; everything else is done by `Room`. */
export class ChatRoom extends DurableObject<Bindings> implements RoomVerbs {
  private room: Room | null = null
  private inbox: Inbox | null = null
  private streams: OpenStreams | null = null
  private usage: StreamUsage | null = null
  private lanes: Lanes | null = null
  private readonly sockets = new Map<WebSocket, SocketReader>()
  /** Who follows the run that goes on by a stream of its own. */
  private readonly followers = new Followers()

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
    this.lanes?.close()
    const counting = ({ caller }: SocketReader) => this.counting(caller, 'stream')
    this.lanes = new Lanes(room, () => this.sockets.values(), counting, room.laneTimings)
    for (const reader of this.sockets.values()) reader.leave()
    this.sockets.clear()
    for (const socket of this.ctx.getWebSockets()) {
      const reader = this.readerOf(socket)
      if (reader.lost) reader.backlog = room.snapshot('reset')
      room.audience.add(reader)
      room.people.presence.here(reader)
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
    return [...this.sockets.values()].filter((reader) => reader.open).length + this.followers.size
  }

  private readerOf(socket: WebSocket): SocketReader {
    const known = this.sockets.get(socket)
    if (known) return known
    const { caller } = socket.deserializeAttachment() as Attachment
    const reader = new SocketReader(socket, {
      gone: (one) => {
        this.lanes?.leave(one)
        this.room?.audience.remove(one)
        this.room?.people.left(one)
        void this.streams?.tell()
      },
      ...this.room?.reading,
      count: this.counting(caller, 'ws'),
    })
    this.sockets.set(socket, reader)
    return reader
  }

  private counting({ kind, id, link }: Caller, stream: keyof typeof STREAMS) {
    this.usage ??= new StreamUsage(this.env, idsOf(this.ctx.id.name)?.tenant_id ?? '')
    return this.usage.of({ kind, id, ...STREAMS[link === undefined ? stream : 'shared'] })
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
      const { pathname } = new URL(request.url)
      if (pathname === RUN_PATH) return await this.followRun(request)
      if (pathname === LANE_PATH && this.lanes) return streaming(this.lanes.answer(request))
      return await this.takeMessage(request)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      return Response.json(refusalOf(error), { status: error.status, headers: { [REFUSED]: '1' } })
    }
  }

  private async takeMessage(request: Request): Promise<Response> {
    const posted = await request.json<PostedMessage>()
    const count = this.counting(posted.call.caller, orderedBy(posted))
    const taken = await takeOrder(this.enter(posted.call), posted, request.signal, count)
    const headers: Record<string, string> = taken.replayed ? { 'Idempotency-Replayed': 'true' } : {}
    return 'stream' in taken ? streaming(taken.stream, headers) : Response.json(taken.json, { headers })
  }

  private async followRun(request: Request): Promise<Response> {
    const wanted = await request.json<FollowedRun>()
    const watch = { signal: request.signal, count: this.counting(wanted.call.caller, 'stream') }
    return streaming(await this.followers.follow(this.enter(wanted.call), wanted, watch, this.streams))
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
      room.people.joined(this.readerOf(socket))
      room.ends.joined(call.caller)
    }, call.caller.impersonator?.tenant_id)
    return new Response(null, { status: 101, webSocket: client })
  }

  override async webSocketMessage(socket: WebSocket, frame: string | ArrayBuffer): Promise<void> {
    const room = this.room
    if (!room) return
    const reader = this.readerOf(socket)
    if (reader.format === 'ws') return this.inbox?.receive(reader, frame)
    this.lanes?.told(reader, frame)
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
    const reader = this.sockets.get(socket) ?? this.readerOf(socket)
    reader.leave()
    this.lanes?.leave(reader)
    this.room?.audience.remove(reader)
    this.room?.people.left(reader)
    if (this.sockets.delete(socket)) await this.streams?.tell()
  }

  /** How many streams and sockets it holds, for the tenant's Meter. */
  openStreams(): StreamReport {
    const name = this.ctx.id.name ?? ''
    return this.streams?.report() ?? { holder: name, life: '', sequence: 0, open: 0 }
  }

  /** The Meter’s word that somebody’s rights have changed. */
  recheck(ids: Ids) {
    return this.tell(ids, 'recheck')
  }

  override async alarm(): Promise<void> {
    await this.room?.alarm()
  }

  /** Whether objects answer at all. */
  ping(): string {
    return 'pong'
  }

  /** Does what a caller asks; a refusal is answered, not thrown. */
  ask<K extends Asked>(call: Call, verb: K, ...input: AskedInput<K>): Promise<Answer<AskedOutput<K>>> {
    return answering(() => doing<AskedOutput<K>>(ASKED[verb], this.enter(call), call, input))
  }

  /** Does what the service itself says. */
  tell<K extends Told>(ids: Ids, word: K, ...input: ToldInput<K>): Promise<Answer<ToldOutput<K>>> {
    return answering(() => doing<ToldOutput<K>>(TOLD[word], this.enter(ids), ids, input))
  }
}

/** Calls a verb with what its own type says that it takes: the caller’s type has made sure that `input` is that. */
function doing<T>(verb: (...args: never[]) => unknown, ...[room, call, input]: [Room, Ids, unknown[]]) {
  return verb(...([room, call, ...input] as never[])) as T | Promise<T>
}

/** A stream for the Worker, which says to the client what it is; 204 where there is none. */
function streaming(stream: ReadableStream | null, headers: Record<string, string> = {}): Response {
  return new Response(stream, { status: stream ? 200 : 204, headers })
}
