import { DurableObject } from 'cloudflare:workers'
import { bareTenant, systemContext } from '../../data/system'
import type { Bindings } from '../../env'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { Problem } from '../../lib/problem'
import { scopesNow } from '../identity/recheck'
import { OpenStreams } from '../metering/limits/open-streams'
import type { StreamReport } from '../metering/meter/streams'
import { parseChannel, parseObjectName, type Said } from './channels'
import { FrameLog, KEPT_MS } from './frames'
import { JOIN_HEADER, type Join } from './join'
import type { Listener } from './listener'
import { GONE, isLoss, type Loss, Rights } from './rights'

/** Frames that wait for rights to be looked up; beyond that those who listen come again, and go on where they were. */
const MOST_WAITING = 1_000

const NO_RIGHT: Loss = { code: 4403, reason: 'the right to listen is gone' }

/**
 * One channel of a tenant: says to all who listen what is published, once, in order. Sockets hibernate, so it runs only
 * while something is said. Rights are at most five seconds old whenever it is.
 */
export class RealtimeChannel extends DurableObject<Bindings> {
  private readonly name = parseObjectName(this.ctx.id.name ?? '')
  private readonly tenantId = this.name?.tenant_id ?? ''
  private readonly frames = new FrameLog(this.ctx.storage.sql)
  private readonly rights = new Rights<Listener>((listeners) => this.lookUp(listeners))
  private readonly streams = new OpenStreams(
    this.env,
    this.tenantId,
    this.ctx.id.name ?? '',
    () => this.sockets.length,
  )
  /** Until when it keeps what is said although nobody listens; null where it keeps nothing. */
  private keepsUntil: number | null = null
  private waiting: string[] = []
  private saying: Promise<void> | null = null

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    ctx.blockConcurrencyWhile(async () => {
      this.keepsUntil = (await ctx.storage.get<number>('keeps_until')) ?? null
      if (this.keepsUntil !== null) this.frames.open()
    })
  }

  /** Opens a socket; the caller's rights were settled at the door. */
  override async fetch(request: Request): Promise<Response> {
    const join = JSON.parse(decodeURIComponent(request.headers.get(JOIN_HEADER) ?? '')) as Join
    try {
      return await this.streams.admit(() => this.join(join), join.listener.impersonator?.tenant_id)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      const { code, message } = error
      return Response.json({ code, message }, { status: error.status })
    }
  }

  private join({ listener, at, after }: Join): Response {
    if (this.keepsUntil === null) this.frames.open()
    this.keep(Number.MAX_SAFE_INTEGER)
    this.rights.admit(listener, at)
    const { 0: client, 1: socket } = new WebSocketPair()
    this.ctx.acceptWebSocket(socket)
    socket.serializeAttachment(listener)
    const missed = after === null ? [] : this.frames.after(after)
    const channel = this.name?.channel
    const [id, resumed] = [this.frames.last(), after === null ? undefined : missed !== null]
    socket.send(JSON.stringify({ type: 'subscribed', channel, resumed, timestamp: iso(Date.now()), id }))
    // What waits to be said is among the missed already.
    for (const frame of missed ?? []) if (!this.waiting.includes(frame)) socket.send(frame)
    // What ended where a guest is at home, before it was noted there, is seen now.
    if (listener.impersonator) this.ctx.waitUntil(this.recheck())
    return new Response(null, { status: 101, webSocket: client })
  }

  /** Says it to who listens, and keeps it a while for who comes back; false where nobody is there for it. */
  async publish(said: Said[]): Promise<boolean> {
    if (this.keepsUntil === null || this.keepsUntil < Date.now()) return false
    // A crash takes sockets along without a word.
    if (this.keepsUntil === Number.MAX_SAFE_INTEGER && this.sockets.length === 0) await this.left()
    const channel = this.name?.channel ?? ''
    const now = iso(Date.now())
    this.waiting.push(...said.map((one) => this.frames.add(channel, one, now)))
    if (this.waiting.length > MOST_WAITING) this.dismiss(1013, 'too much at once; subscribe again with after')
    this.saying ??= this.sayAll().finally(() => {
      this.saying = null
    })
    this.ctx.waitUntil(this.saying)
    return true
  }

  /** Looks at everybody's rights now: where nothing is said nobody would notice. */
  async recheck(): Promise<void> {
    this.rights.forget()
    await this.rights.refresh(this.sockets.map(listenerOf))
    for (const socket of this.sockets) this.permits(socket)
  }

  /** How many sockets it holds, for the tenant's Meter. */
  openStreams(): StreamReport {
    return this.streams.report()
  }

  /** Deletes all that it keeps, with its tenant. */
  async erase(): Promise<void> {
    this.dismiss(4403, NO_RIGHT.reason)
    await this.forget()
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    try {
      socket.close(code === 1005 || code === 1006 ? 1000 : code)
    } catch {
      // It was closed from this side.
    }
    await this.left()
  }

  override async webSocketError(): Promise<void> {
    await this.left()
  }

  /** Nobody has listened for a while: nothing is kept any more. */
  override async alarm(): Promise<void> {
    try {
      if (this.sockets.length === 0) await this.forget()
    } catch (error) {
      log.error('channel_not_forgotten', { ...this.name, cause: describeError(error) })
    }
  }

  private get sockets(): WebSocket[] {
    return this.ctx.getWebSockets().filter(({ readyState }) => readyState === WebSocket.OPEN)
  }

  private async sayAll(): Promise<void> {
    try {
      while (this.waiting.length > 0) {
        await this.rights.refresh(this.sockets.map(listenerOf))
        const frames = this.waiting.splice(0)
        for (const socket of this.sockets)
          if (this.permits(socket)) for (const frame of frames) socket.send(frame)
      }
    } catch (error) {
      // They come again, and go on after the last that they saw.
      log.warn('channel_rights_unknown', { ...this.name, cause: describeError(error) })
      this.waiting = []
      this.dismiss(1013, 'rights can’t be looked at just now; subscribe again with after')
    }
  }

  /** Whether something may be said to a socket; one whose right is gone is closed. */
  private permits(socket: WebSocket): boolean {
    const verdict = this.rights.of(listenerOf(socket).key, Date.now())
    if (verdict !== null && !isLoss(verdict)) return true
    const { code, reason } = verdict ?? { code: 1013, reason: 'subscribe again with after' }
    close(socket, code, reason)
    return false
  }

  private async lookUp(listeners: Listener[]): Promise<Map<string, Listener | Loss>> {
    const scopes = await scopesNow(this.env, this.tenantId, listeners, Date.now())
    const verdictOn = async (one: Listener) => {
      const held = scopes.get(one.key)
      if (!held) return GONE
      return held.includes(one.scope) && (await this.stillMay(one)) ? one : NO_RIGHT
    }
    return new Map(await Promise.all(listeners.map(async (one) => [one.key, await verdictOn(one)] as const)))
  }

  /** Whether what the channel is about is still the listener's to hear. */
  private async stillMay(listener: Listener): Promise<boolean> {
    const { kind, id } = parseChannel(this.name?.channel ?? '')
    if (kind.served || !kind.stillMay) return true
    const ctx = systemContext(this.env, bareTenant(this.tenantId), 'channel', (work) =>
      this.ctx.waitUntil(work),
    )
    return kind.stillMay(ctx, id, listener)
  }

  private async left(): Promise<void> {
    if (this.sockets.length === 0 && this.keepsUntil !== null) {
      this.keep(Date.now() + KEPT_MS)
      await this.ctx.storage.setAlarm(Date.now() + KEPT_MS)
    }
    await this.streams.tell()
  }

  private keep(until: number): void {
    if (this.keepsUntil === until) return
    this.keepsUntil = until
    void this.ctx.storage.put('keeps_until', until)
  }

  private dismiss(code: number, reason: string): void {
    this.waiting = []
    for (const socket of this.sockets) close(socket, code, reason)
  }

  private async forget(): Promise<void> {
    this.keepsUntil = null
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
  }
}

const listenerOf = (socket: WebSocket) => socket.deserializeAttachment() as Listener

function close(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason)
  } catch {
    // It is gone already.
  }
}
