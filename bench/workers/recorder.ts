import type { Bindings, EventNudge } from '../../src/env'
import service, * as objects from '../../src/index'

// The service itself, with a D1 binding that notes what is said to it and what D1's own `meta` answers.

export type Noted = {
  by: 'request' | 'queue' | 'object' | 'sweeper'
  /** Which call it was part of, counted from 1. */
  call: number
  batch: boolean
  sql: string
  params: unknown[]
  rows_read: number
  rows_written: number
}

let notes: Noted[] = []
let calls = 0

type Meta = { rows_read?: number; rows_written?: number }

function note(by: Noted['by'], call: number, batch: boolean, said: Said, meta: Meta): void {
  const { rows_read = 0, rows_written = 0 } = meta
  notes.push({ by, call, batch, sql: said.sql, params: said.params, rows_read, rows_written })
}

type Said = { sql: string; params: unknown[]; bound: D1PreparedStatement }

const saidBy = new WeakMap<object, Said>()

class RecordedStatement {
  readonly #by: Noted['by']
  readonly #said: Said

  constructor(by: Noted['by'], said: Said) {
    this.#by = by
    this.#said = said
    saidBy.set(this, said)
  }

  bind(...params: unknown[]): RecordedStatement {
    const { sql, bound } = this.#said
    return new RecordedStatement(this.#by, { sql, params, bound: bound.bind(...params) })
  }

  async all(): Promise<D1Result> {
    const call = ++calls
    const result = await this.#said.bound.all()
    note(this.#by, call, false, this.#said, result.meta)
    return result
  }

  run(): Promise<D1Result> {
    return this.all()
  }

  async first(column?: string): Promise<unknown> {
    const [row] = (await this.all()).results as Record<string, unknown>[]
    return column === undefined ? (row ?? null) : (row?.[column] ?? null)
  }

  /** D1 answers no `meta` here. A read is asked twice for it; a write returns no column twice, so objects will do. */
  async raw(): Promise<unknown[]> {
    const rows = isRead(this.#said.sql) ? await this.#said.bound.raw() : null
    const { results } = await this.all()
    return rows ?? results.map((row) => Object.values(row as object))
  }
}

const isRead = (sql: string) => /^\s*select\b/i.test(sql)

type Door = Pick<D1Database, 'prepare' | 'batch'>

class RecordedDoor<D1 extends Door> {
  readonly #by: Noted['by']
  readonly #d1: D1

  constructor(by: Noted['by'], d1: D1) {
    this.#by = by
    this.#d1 = d1
  }

  prepare(sql: string): RecordedStatement {
    return new RecordedStatement(this.#by, { sql, params: [], bound: this.#d1.prepare(sql) })
  }

  async batch(statements: object[]): Promise<D1Result[]> {
    const call = ++calls
    const said = statements.flatMap((statement) => saidBy.get(statement) ?? [])
    const results = await this.#d1.batch(said.map(({ bound }) => bound))
    said.forEach((one, i) => {
      note(this.#by, call, true, one, results[i]?.meta ?? {})
    })
    return results
  }
}

class RecordedSession extends RecordedDoor<D1DatabaseSession> {
  readonly #session: D1DatabaseSession

  constructor(by: Noted['by'], session: D1DatabaseSession) {
    super(by, session)
    this.#session = session
  }

  getBookmark(): string | null {
    return this.#session.getBookmark()
  }
}

class RecordedDatabase extends RecordedDoor<D1Database> {
  readonly #of: { by: Noted['by']; d1: D1Database }

  constructor(by: Noted['by'], d1: D1Database) {
    super(by, d1)
    this.#of = { by, d1 }
  }

  withSession(from?: string): RecordedSession {
    const { by, d1 } = this.#of
    return new RecordedSession(by, d1.withSession(from))
  }
}

const recorded = new WeakMap<object, Map<Noted['by'], Bindings>>()

/** The same bindings with a database that notes; one object for each, since the service remembers settings by it. */
function recording(env: Bindings, by: Noted['by']): Bindings {
  const known = recorded.get(env) ?? new Map<Noted['by'], Bindings>()
  recorded.set(env, known)
  const bindings = known.get(by) ?? { ...env, DB: new RecordedDatabase(by, env.DB) as unknown as D1Database }
  known.set(by, bindings)
  return bindings
}

export class ChatRoom extends objects.ChatRoom {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'object'))
  }
}

export class EndpointSender extends objects.EndpointSender {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'object'))
  }
}

export class CallDriver extends objects.CallDriver {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'object'))
  }
}

export class DeliveryReporter extends objects.DeliveryReporter {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'object'))
  }
}

export class JobRunner extends objects.JobRunner {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'object'))
  }
}

export class RealtimeChannel extends objects.RealtimeChannel {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'object'))
  }
}

export class Sweeper extends objects.Sweeper {
  constructor(state: DurableObjectState, env: Bindings) {
    super(state, recording(env, 'sweeper'))
  }
}

/** Bound like the others; what they say to D1, no request has asked for. */
export const { Meter, AddressMeter, MetricsShard, RealtimeTicket } = objects

const handlers: ExportedHandler<Bindings, EventNudge> = service

export default {
  async fetch(request, env, execution) {
    if (new URL(request.url).pathname === '/notes') {
      const taken = notes
      notes = []
      return Response.json(taken)
    }
    return (
      handlers.fetch?.(request, recording(env, 'request'), execution) ?? new Response(null, { status: 404 })
    )
  },
  async queue(batch, env, execution) {
    await handlers.queue?.(batch, recording(env, 'queue'), execution)
  },
} satisfies ExportedHandler<Bindings, EventNudge>
