import type { Context } from '../../data/context'
import { utf8 } from '../../lib/encoding'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { Problem, type ProblemCode, problem } from '../../lib/problem'
import type { CountBytes } from '../metering/usage/streamed'
import { BAD_FRAME, dressed, isBig, parseFrame } from './frame-text'
import { Outflow } from './outflow'
import type { ClientFrame } from './schema'
import type { Joined } from './service'
import type { Credentials } from './session'
import type { Entrance } from './strangers'

/** A socket says who it is for within this time. */
export const AUTH_MS = 10_000
const MOST_A_SECOND = 50
/** Frames that wait while one takes long. */
const MOST_WAITING = 100
const MOST_CHANNELS = 50

/** What a connection needs from outside. */
export type Ports = {
  authenticate: (credentials: Credentials) => Promise<Context>
  /** The same caller by what is so now; throws 401 where the credential no longer counts. */
  recheck: (session: Context) => Promise<Context>
  /** Is told once whether it became known who the socket is for. */
  entered: (entrance: Entrance) => void
  /** What counts the bytes of a socket whose caller is known. */
  measure: (session: Context) => CountBytes
  /** Counts a subscription that was refused as a request; throws 429 beyond the caller’s limits. */
  count: (session: Context) => Promise<void>
  /** A socket to the channel's object, which speaks first; and what is said to who comes. */
  join: (ctx: Context, channel: string, after: string | null) => Promise<Joined>
}

/** The codes that a socket is closed with (chat.md). */
const CLOSE = { later: 1013, bad: 4400, auth: 4401, late: 4408, slow: 4409, big: 4413, many: 4429 } as const

/**
 * One client's socket: takes its frames one after the other, and hands on what its channels say. For as long as it
 * listens, the channels' objects look at its rights.
 */
export class Connection {
  private session: Context | null = null
  private passed: CountBytes = () => {}
  private readonly channels = new Map<string, Joined>()
  private readonly outflow: Outflow
  private work: Promise<void> = Promise.resolve()
  private waiting = 0
  private taken: number[] = []
  private closed = false
  private readonly timer: ReturnType<typeof setTimeout>

  constructor(
    private readonly socket: WebSocket,
    private readonly ports: Ports,
  ) {
    socket.addEventListener('message', ({ data }) => this.receive(data))
    socket.addEventListener('close', () => this.end())
    socket.addEventListener('error', () => this.end())
    this.outflow = new Outflow(
      (text) => this.give(text),
      () => this.close(CLOSE.slow, 'too slow: subscribe again with after, and send ack frames'),
    )
    this.timer = setTimeout(() => this.close(CLOSE.late, 'no auth within 10 seconds'), AUTH_MS)
  }

  private receive(data: string | ArrayBuffer): void {
    if (this.closed) return
    const now = Date.now()
    this.taken = [...this.taken.filter((at) => at > now - 1_000), now]
    if (typeof data !== 'string') this.close(CLOSE.bad, 'frames are text')
    else if (isBig(data)) this.close(CLOSE.big, 'a frame is at most 64 KiB')
    else if (this.taken.length > MOST_A_SECOND) this.close(CLOSE.many, 'at most 50 frames a second')
    else if (this.waiting >= MOST_WAITING) this.close(CLOSE.many, 'more than 100 frames wait to be taken')
    else {
      this.waiting += 1
      this.work = this.work
        .then(() => this.take(data))
        .finally(() => {
          this.waiting -= 1
        })
    }
  }

  private async take(text: string): Promise<void> {
    if (this.closed) return
    this.passed(0, utf8(text).byteLength)
    const frame = parseFrame(text)
    if (frame instanceof Problem)
      return this.session ? this.refuse(frame) : this.close(CLOSE.bad, BAD_FRAME.message, frame)
    try {
      if (this.session === null) await this.authenticate(frame)
      else await this.follow(this.session, frame)
    } catch (error) {
      if (!(error instanceof Problem)) log.error('realtime_failed', { cause: describeError(error) })
      const refusal =
        error instanceof Problem ? error : problem('internal_error', 'An unexpected error occurred')
      if (this.session === null) this.turnAway(refusal)
      else if (refusal.status === 401) this.close(CLOSE.auth, refusal.message)
      else this.refuse(refusal, frame)
    }
  }

  /** Nobody was authenticated: because of what came, or because just now nobody can be. */
  private turnAway(refusal: Problem): void {
    if (refusal.retryable) this.close(CLOSE.later, 'nobody can be authenticated just now', refusal, 'later')
    else this.close(CLOSE.auth, 'not authenticated', refusal)
  }

  private async authenticate(frame: ClientFrame): Promise<void> {
    if (frame.type !== 'auth')
      throw problem.unauthorized('credential_required', 'The first frame must be of the type auth')
    const { type: _, ...credentials } = frame
    const session = await this.ports.authenticate(credentials)
    // Whoever left meanwhile was counted when it did.
    if (this.closed) return
    this.session = session
    this.passed = this.ports.measure(session)
    this.ports.entered('in')
    clearTimeout(this.timer)
    const { principal, tenant } = this.session
    this.say({ type: 'ready', principal: { kind: principal.kind, id: principal.id }, tenant_id: tenant.id })
  }

  private async follow(ctx: Context, frame: ClientFrame): Promise<void> {
    switch (frame.type) {
      case 'ping':
        return this.say({ type: 'pong' })
      case 'auth':
        throw problem('conflict', 'The socket is authenticated; open another for somebody else')
      case 'unsubscribe':
        return this.leave(frame.channel)
      case 'ack':
        return this.acknowledge(frame.channel, frame.id)
      case 'subscribe':
        return this.subscribe(ctx, frame.channel, frame.after ?? null)
    }
  }

  private async subscribe(ctx: Context, channel: string, after: string | null): Promise<void> {
    if (this.channels.has(channel)) throw problem('conflict', 'The channel is subscribed to already')
    if (this.channels.size >= MOST_CHANNELS)
      throw problem('conflict', `A socket has at most ${MOST_CHANNELS} channels; open another`)
    this.session = await this.ports.recheck(ctx)
    const joined = await this.join(this.session, channel, after)
    const { socket, greeting, served } = joined
    if (this.closed) return socket.close(1000)
    this.channels.set(channel, joined)
    if (served) this.say({ type: 'subscribed', channel })
    socket.addEventListener('message', ({ data }) => {
      if (this.closed) return
      // What keeps its own log waits for its own acknowledgements, and counts its own bytes.
      if (served) this.socket.send(dressed(served, channel, `${data}`))
      else this.hand(channel, `${data}`, greeting.splice(0))
    })
    socket.addEventListener('close', ({ code, reason }) => this.ended(channel, socket, code, reason))
    socket.accept()
  }

  /** Opening a stream is no request (limits.md); what is refused is one, or it could be asked for without end. */
  private async join(ctx: Context, channel: string, after: string | null): Promise<Joined> {
    try {
      return await this.ports.join(ctx, channel, after)
    } catch (refusal) {
      if (refusal instanceof Problem && refusal.status < 500 && refusal.status !== 429)
        await this.ports.count(ctx)
      throw refusal
    }
  }

  /** The first that a channel says is that it is subscribed to; then comes how things stand. */
  private hand(channel: string, frame: string, greeting: string[]): void {
    this.outflow.offer(channel, frame)
    for (const one of greeting) this.outflow.offer(channel, one)
  }

  private acknowledge(channel: string, id: string): void {
    const joined = this.channels.get(channel)
    if (joined?.served) joined.socket.send(JSON.stringify({ type: 'ack', data: { last_event_id: id } }))
    // What was on its way when its channel was left is acknowledged, too.
    else if (!this.outflow.acknowledge(channel, id) && !joined)
      throw problem.notFound('subscription', channel)
  }

  private leave(channel: string): void {
    const joined = this.channels.get(channel)
    if (!joined) throw problem.notFound('subscription', channel)
    this.channels.delete(channel)
    this.outflow.forget(channel)
    joined.socket.close(1000)
    this.say({ type: 'unsubscribed', channel })
  }

  /** The channel's object has closed its socket: 4401 and 4403 say that a right is gone. */
  private ended(channel: string, socket: WebSocket, code: number, reason: string): void {
    if (this.channels.get(channel)?.socket !== socket) return
    this.channels.delete(channel)
    this.close(
      code >= 4000 ? code : CLOSE.later,
      reason || 'the channel has ended; subscribe again with after',
    )
  }

  private refuse({ code, message }: Pick<Problem, 'code' | 'message'>, frame?: ClientFrame): void {
    const channel = frame && 'channel' in frame ? { channel: frame.channel } : {}
    this.say({ type: 'error', ...channel, code, message })
  }

  private say(frame: Record<string, unknown>): void {
    if (!this.closed) this.give(JSON.stringify({ ...frame, timestamp: iso(Date.now()) }))
  }

  private give(text: string): void {
    this.socket.send(text)
    this.passed(utf8(text).byteLength)
  }

  private close(code: number, reason: string, said?: Problem, entrance?: Entrance): void {
    if (this.closed) return
    this.refuse(said ?? { code: CODES[code] ?? 'service_unavailable', message: reason })
    this.end(entrance)
    this.socket.close(code, reason)
  }

  private end(entrance: Entrance = 'refused'): void {
    if (this.closed) return
    this.closed = true
    if (this.session === null) this.ports.entered(entrance)
    clearTimeout(this.timer)
    this.outflow.end()
    for (const { socket } of this.channels.values()) socket.close(1000)
    this.channels.clear()
  }
}

const CODES: Record<number, ProblemCode> = {
  [CLOSE.bad]: 'malformed_body',
  [CLOSE.auth]: 'credential_required',
  4403: 'insufficient_scope',
  [CLOSE.late]: 'credential_required',
  [CLOSE.slow]: 'rate_limited',
  [CLOSE.big]: 'body_too_large',
  [CLOSE.many]: 'rate_limited',
}
