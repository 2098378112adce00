import type { Attempt } from './schema'

/** Where an attempt stands among those of its endpoint: by its delivery, whose id carries the time of the event. */
export type Place = { delivery_id: string; number: number }

export type AttemptQuery = {
  limit: number
  ascending: boolean
  /** Beyond this one. */
  from: Place | null
  /** Only those that failed, or did not. */
  failed?: boolean | undefined
  /** Only those answered by a status of this hundred; 0 for those that were not answered. */
  hundred?: number | undefined
  event_types?: readonly string[] | undefined
  /** Only those made in this time. */
  after?: string | undefined
  before?: string | undefined
  /** Whether the answers' bodies are wanted. */
  content: boolean
}

/** An attempt as a list shows it; `manual` where somebody asked for it. */
export type ListedAttempt = Place &
  Pick<Attempt, 'attempted_at' | 'duration_ms' | 'response_status' | 'response_body' | 'error'> & {
    event_id: string
    event_type: string
    manual: boolean
  }

/** `end` is the last that was looked at, where the log goes on beyond it and fewer were found than asked for. */
export type AttemptPage = { rows: ListedAttempt[]; end: Place | null }

/** Attempts that one page looks at. */
const MOST = 1_000

type Row = Place & { event_id: string; event_type: string; attempt: string; asked: number }

const COLUMNS = `a.delivery_id, a.number, a.event_id, a.event_type, a.attempt,
  a.retries > coalesce((
    select earlier.retries from attempts as earlier
    where earlier.delivery_id = a.delivery_id and earlier.number < a.number
    order by earlier.number desc limit 1), 0) as asked`

/** The attempts of an endpoint that have ended, event by event. */
export function pageOfAttempts(sql: SqlStorage, query: AttemptQuery): AttemptPage {
  const { ascending, limit } = query
  const [order, beyond] = ascending ? ['asc', '>'] : ['desc', '<']
  const from = query.from ?? { delivery_id: ascending ? '' : 'g', number: 0 }
  const found = sql.exec<Row>(
    `select ${COLUMNS} from attempts as a
     where (a.delivery_id, a.number) ${beyond} (?, ?) and a.state <> 'running'
     order by a.delivery_id ${order}, a.number ${order} limit ${MOST}`,
    ...[from.delivery_id, from.number],
  )
  const rows: ListedAttempt[] = []
  let looked = 0
  let last: Place | null = null
  for (const row of found) {
    looked += 1
    last = { delivery_id: row.delivery_id, number: row.number }
    const attempt = JSON.parse(row.attempt) as Attempt
    if (isWanted(query, row.event_type, attempt)) rows.push(listed(row, attempt, query.content))
    if (rows.length === limit) break
  }
  return { rows, end: looked === MOST && rows.length < limit ? last : null }
}

/** The attempts of one delivery that have ended, in order. */
export function attemptsOf(sql: SqlStorage, deliveryId: string, content: boolean): ListedAttempt[] {
  const found = sql.exec<Row>(
    `select ${COLUMNS} from attempts as a where a.delivery_id = ? and a.state <> 'running' order by a.number`,
    deliveryId,
  )
  return found.toArray().map((row) => listed(row, JSON.parse(row.attempt) as Attempt, content))
}

function isWanted(query: AttemptQuery, type: string, attempt: Attempt): boolean {
  const { failed, hundred, event_types, after, before } = query
  if (failed !== undefined && (attempt.error !== null) !== failed) return false
  if (hundred !== undefined && Math.floor((attempt.response_status ?? 0) / 100) * 100 !== hundred)
    return false
  if (event_types && !event_types.includes(type)) return false
  if (after !== undefined && attempt.attempted_at <= after) return false
  return before === undefined || attempt.attempted_at < before
}

function listed(row: Row, attempt: Attempt, content: boolean): ListedAttempt {
  const { attempted_at, duration_ms, response_status, response_body, error } = attempt
  return {
    ...{
      delivery_id: row.delivery_id,
      number: row.number,
      event_id: row.event_id,
      event_type: row.event_type,
    },
    ...{ attempted_at, duration_ms, response_status, error },
    response_body: content ? response_body : null,
    manual: row.asked === 1,
  }
}

/** Keeps nothing of what one attempt was answered but the status; one that there is not has nothing to keep. */
export function forgetAnswer(sql: SqlStorage, { delivery_id, number }: Place): void {
  sql.exec(
    `update attempts set attempt = json_set(attempt, '$.response_headers', null, '$.response_body', null)
     where delivery_id = ? and number = ? and state <> 'running'`,
    ...[delivery_id, number],
  )
}
