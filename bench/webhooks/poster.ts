import net from 'node:net'
import { statusWhenWhole } from '../load.ts'

export type Answered = { status: number; text: string }
type Target = { port: number; url: string; headers: Record<string, string> }
type Waiting = {
  bytes: Buffer
  /** How often its connection was lost before any of its answer came. */
  lost: number
  resolve: (answer: Answered) => void
  reject: (error: Error) => void
}

/**
 * POSTs to one address over raw sockets that are kept open, so many at once; what is more waits for a socket. A general
 * client would take a good part of the machine from what is measured.
 */
export class Poster {
  private readonly free: Lane[] = []
  private readonly waiting: Waiting[] = []
  private readonly lanes = new Set<Lane>()

  private readonly target: Target
  private readonly most: number

  constructor(target: Target, most: number) {
    this.target = target
    this.most = most
  }

  post(body: unknown, headers: Record<string, string> = {}): Promise<Answered> {
    const { promise, resolve, reject } = Promise.withResolvers<Answered>()
    this.waiting.push({ bytes: this.bytesOf(JSON.stringify(body), headers), lost: 0, resolve, reject })
    this.next()
    return promise
  }

  close(): void {
    for (const lane of this.lanes) lane.socket.destroy()
  }

  private bytesOf(body: string, more: Record<string, string>): Buffer {
    const { url, headers } = this.target
    const all = {
      Host: new URL(url).host,
      'Content-Type': 'application/json',
      'Content-Length': String(Buffer.byteLength(body)),
      ...headers,
      ...more,
    }
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    return Buffer.from(`POST ${url} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
  }

  private open(): void {
    const socket = net.connect({ port: this.target.port, host: '127.0.0.1', noDelay: true })
    const lane: Lane = { socket, got: Buffer.alloc(0), at: null, freeSince: null }
    this.lanes.add(lane)
    const release = () => {
      lane.at = null
      lane.got = Buffer.alloc(0)
      lane.freeSince = performance.now()
      this.free.push(lane)
      this.next()
    }
    let failure = new Error('the connection was closed')
    socket.on('connect', release)
    socket.on('error', (error) => {
      failure = error
    })
    socket.on('close', () => {
      this.lanes.delete(lane)
      const index = this.free.indexOf(lane)
      if (index >= 0) this.free.splice(index, 1)
      // One that never stood fails what would have gone over it.
      const lost = lane.freeSince === null ? this.waiting.shift() : lane.at
      if (!lost) return
      // The other side closes what was idle for five seconds, perhaps while the next request is on its way, and resets what
      // it has no room for. One event too many is measured as well as any.
      if (lost.lost < MOST_LOST && lane.got.length === 0) this.again(lost)
      else lost.reject(failure)
    })
    socket.on('data', (chunk) => {
      lane.got = lane.got.length === 0 ? chunk : Buffer.concat([lane.got, chunk])
      const status = statusWhenWhole(lane.got)
      if (status === 0) return
      const answer = { status, text: lane.got.toString() }
      lane.at?.resolve(answer)
      release()
    })
  }

  private again(lost: Waiting): void {
    lost.lost += 1
    this.waiting.unshift(lost)
    this.next()
  }

  private next(): void {
    const waiting = this.waiting[0]
    if (!waiting) return
    const lane = this.free.pop()
    if (lane && performance.now() - (lane.freeSince ?? 0) > MOST_IDLE_MS) {
      lane.socket.destroy()
      this.lanes.delete(lane)
      this.next()
    } else if (lane) {
      this.waiting.shift()
      lane.at = waiting
      lane.socket.write(waiting.bytes)
    } else if (this.lanes.size < this.most) this.open()
  }
}

/** So often a request is sent again. */
const MOST_LOST = 3

/** The other side closes what was idle for five seconds. */
const MOST_IDLE_MS = 2_000

type Lane = { socket: net.Socket; got: Buffer; at: Waiting | null; freeSince: number | null }

/**
 * Calls `shot` so many times a second, whether the ones before are over or not: each is told when it was to begin, and
 * what waits for the service is waited for from then on.
 */
export async function atRate(
  perSecond: number,
  count: number,
  shot: (n: number, due: number) => Promise<void>,
): Promise<void> {
  const started = performance.now()
  const shots: Promise<void>[] = []
  for (let n = 0; n < count; ) {
    const due = started + (n * 1000) / perSecond
    const early = due - performance.now()
    if (early > 0.5) await new Promise((resolve) => setTimeout(resolve, early))
    else shots.push(shot(n++, due))
  }
  await Promise.all(shots)
}

/** Calls `shot` for each number below `count`, so many at once, one after the other. */
export async function atOnce(
  connections: number,
  count: number,
  shot: (n: number) => Promise<void>,
): Promise<void> {
  let n = 0
  const lane = async () => {
    while (n < count) await shot(n++)
  }
  await Promise.all(Array.from({ length: connections }, lane))
}
