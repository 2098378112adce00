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

type Claim = Pick<Report, 'delivery_id' | 'event_id' | 'event_type' | 'retries'> & { attempt_count: number }

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

/**
 * The attempts of one endpoint, in its object's own SQLite. A row is written before its request goes out (that is the
 * claim) and has three states: `running`, `unreported` (ended, D1 does not know yet), `reported`.
 */
export class AttemptLog {
  private readonly known: Pick<Report, 'delivery_id' | 'number'>[] = []

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
  }

  /** Ends what a crash cut off; called when the object wakes. */
  recover(now: number): void {
    const rows = this.sql.exec<Row>(`select * from attempts where state = 'running' and state <> 'reported'`)
    for (const row of rows.toArray()) {
      const error = 'interrupted: the sender stopped before the attempt ended; it is made again'
      const attempt = { ...(JSON.parse(row.attempt) as Attempt), error }
      this.end(row, attempt, now, interrupted(now))
    }
  }

  /** Claims the next attempt of a delivery and answers with its number. */
  begin(claim: Claim, attemptedAt: string): number {
    this.flush()
    const { last } = this.sql
      .exec<{ last: number }>(
        'select coalesce(max(number), 0) as last from attempts where delivery_id = ?',
        claim.delivery_id,
      )
      .one()
    const number = Math.max(last, claim.attempt_count) + 1
    const attempt: Attempt = {
      number,
      attempted_at: attemptedAt,
      duration_ms: 0,
      response_status: null,
      response_body: null,
      response_headers: null,
      request_headers: {},
      error: null,
    }
    this.sql.exec(
      `insert into attempts (delivery_id, number, state, event_id, event_type, retries, attempt)
       values (?, ?, 'running', ?, ?, ?, ?)`,
      ...[claim.delivery_id, number, claim.event_id, claim.event_type, claim.retries],
      JSON.stringify(attempt),
    )
    return number
  }

  /** Records how an attempt ended; D1 is to be told. */
  end(
    claim: Pick<Report, 'delivery_id' | 'number'>,
    attempt: Attempt,
    endedAt: number,
    verdict: Verdict,
  ): void {
    this.flush()
    this.sql.exec(
      `update attempts set state = 'unreported', ended_at = ?, verdict = ?, attempt = ?
       where delivery_id = ? and number = ?`,
      ...[endedAt, JSON.stringify(verdict), JSON.stringify(attempt), claim.delivery_id, claim.number],
    )
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
    for (const { delivery_id, number } of this.known.splice(0))
      this.sql.exec(
        `update attempts set state = 'reported' where delivery_id = ? and number = ?`,
        delivery_id,
        number,
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
