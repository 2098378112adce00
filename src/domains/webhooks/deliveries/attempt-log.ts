import { HEALTHY, type Health } from './health'
import type { Attempt } from './schema'
import { interrupted, type Verdict } from './verdict'

/** One attempt as D1 is told of it. */
export type Report = {
  delivery_id: string
  event_id: string
  event_type: string
  number: number
  /** The delivery's `retries` when the attempt was claimed. */
  retries: number
  ended_at: number
  response_status: number | null
  error: string | null
  verdict: Verdict
}

type Claim = Pick<Report, 'delivery_id' | 'event_id' | 'event_type' | 'retries'> & {
  attempt_count: number
  probe: boolean
}

/** The number of an attempt, and its place in the delivery's schedule, where probes, and what a crash cut off, do not count. */
export type Begun = { number: number; place: number }

type Row = {
  delivery_id: string
  event_id: string
  event_type: string
  number: number
  retries: number
  ended_at: number | null
  verdict: string | null
  attempt: string
}

/** An attempt without what was sent and answered. */
const bare = (attempt: Attempt): Attempt => ({
  ...attempt,
  ...{ request_headers: {}, response_headers: null, response_body: null },
})

/**
 * The attempts of one endpoint, in its object's own SQLite. A row is written before its request goes out (that is the
 * claim) and has three states: `running`, `unreported` (ended, D1 does not know yet), `reported`.
 */
export class AttemptLog {
  private readonly known: Pick<Report, 'delivery_id' | 'number'>[] = []
  private fares: Health
  /** Whether anything was ever forgotten: hardly ever, and then no attempt need look for it. */
  private forgets: boolean

  constructor(private readonly sql: SqlStorage) {
    sql.exec(`create table if not exists attempts (
      delivery_id text not null,
      number integer not null,
      state text not null,
      event_id text not null,
      event_type text not null,
      retries integer not null,
      ended_at integer,
      verdict text,
      attempt text not null,
      primary key (delivery_id, number)
    ) without rowid`)
    sql.exec(`create index if not exists attempts_open on attempts (state) where state <> 'reported'`)
    const columns = sql.exec<{ name: string }>(`select name from pragma_table_info('attempts')`).toArray()
    if (!columns.some(({ name }) => name === 'probe'))
      sql.exec('alter table attempts add column probe integer not null default 0')
    sql.exec('create table if not exists forgotten (delivery_id text primary key) without rowid')
    sql.exec('create table if not exists health (id integer primary key, state text not null)')
    const [kept] = sql.exec<{ state: string }>('select state from health').toArray()
    this.forgets = sql.exec('select 1 from forgotten limit 1').toArray().length > 0
    this.fares = kept ? (JSON.parse(kept.state) as Health) : HEALTHY
  }

  /** How the endpoint fares. */
  get health(): Health {
    return this.fares
  }

  /** Keeps how the endpoint fares; where nothing changed, nothing is written. */
  fare(health: Health): void {
    if (health === this.fares) return
    this.fares = health
    this.sql.exec('insert or replace into health (id, state) values (1, ?)', JSON.stringify(health))
  }

  /** When the last attempt began of those that D1 was not known to know of when this object woke. */
  lastOpen(): number | null {
    const rows = this.sql.exec<{ attempt: string }>(
      `select attempt from attempts where state in ('running', 'unreported') and state <> 'reported'`,
    )
    const times = rows.toArray().map((row) => Date.parse((JSON.parse(row.attempt) as Attempt).attempted_at))
    return times.length === 0 ? null : Math.max(...times)
  }

  /** Ends what a crash cut off; called when the object wakes. */
  recover(now: number): void {
    const rows = this.sql.exec<Row>(`select * from attempts where state = 'running' and state <> 'reported'`)
    for (const row of rows.toArray()) {
      const error = 'interrupted: the sender stopped before the attempt ended; it is made again'
      const attempt = { ...(JSON.parse(row.attempt) as Attempt), error }
      this.end(row, attempt, now, interrupted(now))
      // It is made again, and has no more place in the schedule than a probe.
      this.sql.exec(
        'update attempts set probe = 1 where delivery_id = ? and number = ?',
        ...[row.delivery_id, row.number],
      )
    }
  }

  /** Claims the next attempt of a delivery. */
  begin(claim: Claim, attemptedAt: string): Begun {
    this.flush()
    const { last, probes } = this.sql
      .exec<{ last: number; probes: number }>(
        `select coalesce(max(number), 0) as last, coalesce(sum(probe), 0) as probes from attempts
         where delivery_id = ?`,
        claim.delivery_id,
      )
      .one()
    const number = Math.max(last, claim.attempt_count) + 1
    const attempt: Attempt = {
      ...{ number, attempted_at: attemptedAt, duration_ms: 0, error: null },
      ...{ response_status: null, response_body: null, response_headers: null, request_headers: {} },
    }
    this.sql.exec(
      `insert into attempts (delivery_id, number, state, event_id, event_type, retries, probe, attempt)
       values (?, ?, 'running', ?, ?, ?, ?, ?)`,
      ...[claim.delivery_id, number, claim.event_id, claim.event_type, claim.retries, Number(claim.probe)],
      JSON.stringify(attempt),
    )
    return { number, place: number - probes }
  }

  /** Whether an attempt of the delivery was ever begun. */
  knows(deliveryId: string): boolean {
    return (
      this.sql.exec('select 1 from attempts where delivery_id = ? limit 1', deliveryId).toArray().length > 0
    )
  }

  /** Forgets a claim of which nothing went out. */
  drop({ delivery_id, number }: Pick<Report, 'delivery_id' | 'number'>): void {
    this.sql.exec(
      `delete from attempts where delivery_id = ? and number = ? and state = 'running'`,
      ...[delivery_id, number],
    )
  }

  /** Records how an attempt ended; D1 is to be told. */
  end(
    claim: Pick<Report, 'delivery_id' | 'number'>,
    attempt: Attempt,
    endedAt: number,
    verdict: Verdict,
  ): void {
    this.flush()
    const told = this.isForgotten(claim.delivery_id) ? bare(attempt) : attempt
    this.sql.exec(
      `update attempts set state = 'unreported', ended_at = ?, verdict = ?, attempt = ?
       where delivery_id = ? and number = ?`,
      ...[endedAt, JSON.stringify(verdict), JSON.stringify(told), claim.delivery_id, claim.number],
    )
  }

  private isForgotten(deliveryId: string): boolean {
    if (!this.forgets) return false
    return this.sql.exec('select 1 from forgotten where delivery_id = ?', deliveryId).toArray().length > 0
  }

  /** Keeps nothing of what was sent and answered in these deliveries' attempts, nor in any that is yet to end. */
  forget(deliveryIds: readonly string[]): void {
    this.forgets ||= deliveryIds.length > 0
    for (const id of deliveryIds) {
      this.sql.exec('insert or ignore into forgotten (delivery_id) values (?)', id)
      for (const { number, attempt } of this.sql
        .exec<Pick<Row, 'number' | 'attempt'>>(
          'select number, attempt from attempts where delivery_id = ?',
          id,
        )
        .toArray())
        this.sql.exec(
          'update attempts set attempt = ? where delivery_id = ? and number = ?',
          ...[JSON.stringify(bare(JSON.parse(attempt) as Attempt)), id, number],
        )
    }
  }

  /** Drops the attempts of the deliveries whose ids sort before `deliveryId`; an open one stays until it has ended. */
  dropBefore(deliveryId: string): void {
    this.sql.exec(`delete from attempts where delivery_id < ? and state = 'reported'`, deliveryId)
    this.sql.exec('delete from forgotten where delivery_id < ?', deliveryId)
  }

  /** What D1 does not know yet. */
  unreported(): Report[] {
    const rows = this.sql.exec<Row>(
      `select * from attempts where state = 'unreported' and state <> 'reported' order by delivery_id, number`,
    )
    return rows.toArray().map(({ attempt, verdict, ...row }) => {
      const { response_status, error } = JSON.parse(attempt) as Attempt
      return {
        delivery_id: row.delivery_id,
        event_id: row.event_id,
        event_type: row.event_type,
        number: row.number,
        retries: row.retries,
        ended_at: row.ended_at ?? 0,
        response_status,
        error,
        verdict: JSON.parse(verdict ?? 'null') as Verdict,
      }
    })
  }

  /**
   * D1 knows these. It is noted with the next write, which then costs no more: told again after a crash, D1 finds
   * nothing to change.
   */
  reported(reports: readonly Pick<Report, 'delivery_id' | 'number'>[]): void {
    this.known.push(...reports)
  }

  /** Notes what D1 knows. */
  flush(): void {
    if (this.known.length === 0) return
    const known = this.known.splice(0).map(({ delivery_id, number }) => [delivery_id, number])
    this.sql.exec(
      `update attempts set state = 'reported' where (delivery_id, number) in (
        select value ->> 0, value ->> 1 from json_each(?))`,
      JSON.stringify(known),
    )
  }

  /** The attempts of one delivery that have ended, in order. */
  of(deliveryId: string): Attempt[] {
    const rows = this.sql.exec<{ attempt: string }>(
      `select attempt from attempts where delivery_id = ? and state <> 'running' order by number`,
      deliveryId,
    )
    return rows.toArray().map((row) => JSON.parse(row.attempt) as Attempt)
  }
}
