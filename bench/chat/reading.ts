import net from 'node:net'
import { microseconds, wordsOf } from './words.ts'

// The readers, in a process of their own: they must hold up neither the service nor what they measure. They speak HTTP
// over raw sockets, as the load generator does: a general client would take more of the machine than the service.

/** Opens connections and reads; then tells what came of the words of `tag`. */
export type ReadingOrder =
  | { kind: 'open'; port: number; requests: string[]; atOnce: number; status: number }
  | { kind: 'prepare'; tag: string; words: number; skip: number }
  | { kind: 'finish'; patienceMs: number }
  | { kind: 'close' }

/** What all connections together read: each word counts once for each of them. */
export type Read = {
  expected: number
  /** Words that came in their order, and those that never did. */
  came: number
  lost: number
  /** Words that came twice or out of their order. */
  wrong: number
  /** Times that a reader was brought to the chat as it stands. */
  resets: number
  bytes: number
  /** Milliseconds from the writing of a word to its reading: 50, 95 and 99 in a hundred, and the longest. */
  delays: { p50: number; p95: number; p99: number; most: number }
  /** The same of the first words alone. */
  first: { p50: number; p95: number; p99: number; most: number }
}

type Connection = {
  socket: net.Socket
  next: number
  rest: string
  bytes: number
  wrong: number
  resets: number
}

const CHUNK = /\r\n[0-9a-f]+\r\n/g

const connections: Connection[] = []
let words: RegExp | null = null
let skip = 0
let wanted = 0
let done = 0
let delays: number[] = []
let firsts: number[] = []
let finished: (() => void) | null = null

function take(connection: Connection, chunk: Buffer): void {
  connection.bytes += chunk.byteLength
  if (!words) return
  const now = microseconds()
  const text = connection.rest + chunk.toString('latin1')
  // Whole events; what HTTP puts between its chunks may stand in the middle of one.
  const end = text.lastIndexOf('\n\n') + 2
  connection.rest = end < 2 ? text : text.slice(end)
  const whole = end < 2 ? '' : text.slice(0, end).replace(CHUNK, '')
  if (whole.includes('"type":"reset"')) connection.resets += 1
  for (const [, number, at] of whole.matchAll(words)) {
    const n = Number(number)
    if (n !== connection.next) connection.wrong += 1
    connection.next = n + 1
    if (n >= skip) delays.push((now - Number(at)) / 1000)
    if (n === 0) firsts.push((now - Number(at)) / 1000)
    if (n === wanted - 1) done += 1
  }
  if (done === connections.length) finished?.()
}

/** Opens one connection; resolves when its answer has begun. */
function open(port: number, request: string, status: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    const connection: Connection = { socket, next: 0, rest: '', bytes: 0, wrong: 0, resets: 0 }
    connections.push(connection)
    let opened = false
    socket.on('connect', () => socket.write(request))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('a connection was closed before its answer')))
    socket.on('data', (chunk) => {
      if (!opened) {
        const head = chunk.toString('latin1', 0, 400)
        if (head.startsWith(`HTTP/1.1 ${status}`)) resolve()
        else reject(new Error(`a reader was answered ${head}`))
      }
      opened = true
      take(connection, chunk)
    })
  })
}

async function openAll(order: ReadingOrder & { kind: 'open' }): Promise<void> {
  const waiting = order.requests[Symbol.iterator]()
  const worker = async () => {
    for (const request of waiting) await open(order.port, request, order.status)
  }
  await Promise.all(Array.from({ length: order.atOnce }, worker))
}

/** From now on words are looked for, by who is connected and by who will be. */
function prepare(order: ReadingOrder & { kind: 'prepare' }): void {
  words = wordsOf(order.tag)
  ;[skip, wanted, done] = [order.skip, order.words, 0]
  ;[delays, firsts] = [[], []]
  for (const connection of connections)
    Object.assign(connection, { next: 0, rest: '', bytes: 0, wrong: 0, resets: 0 })
}

/** Waits until all have come to all, or are given up. */
function finish({ patienceMs }: ReadingOrder & { kind: 'finish' }): Promise<Read> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => finished?.(), patienceMs)
    finished = () => {
      finished = null
      clearTimeout(timer)
      words = null
      resolve(outcome())
    }
    if (done === connections.length) finished()
  })
}

function outcome(): Read {
  const sum = (of: (connection: Connection) => number) => connections.reduce((all, one) => all + of(one), 0)
  const expected = connections.length * (wanted - skip)
  const wrong = sum((connection) => connection.wrong)
  return {
    ...{ expected, came: delays.length, lost: expected - delays.length, wrong },
    ...{ resets: sum((connection) => connection.resets), bytes: sum((connection) => connection.bytes) },
    ...{ delays: spread(delays), first: spread(firsts) },
  }
}

function spread(values: number[]): Read['delays'] {
  const sorted = Float64Array.from(values).sort()
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), most: at(1) }
}

function close(): void {
  for (const { socket } of connections.splice(0)) {
    socket.removeAllListeners('close')
    socket.on('error', () => {})
    socket.destroy()
  }
}

async function obey(order: ReadingOrder): Promise<unknown> {
  if (order.kind === 'open') return openAll(order)
  if (order.kind === 'prepare') return prepare(order)
  if (order.kind === 'finish') return finish(order)
  return close()
}

process.on('message', (order: ReadingOrder) => {
  obey(order).then(
    (value) => process.send?.({ value }),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit())
