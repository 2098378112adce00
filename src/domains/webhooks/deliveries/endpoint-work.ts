import type { Context } from '../../../data/context'
import { type Bindings, settingsOf } from '../../../env'
import { dataText } from '../../events/payload'
import type { EndpointRow } from '../endpoints/table'
import type { AttemptLog, Begun, Report } from './attempt-log'
import { countAttempt } from './counts'
import type { DrainPorts, Work } from './drain-ports'
import { type DueDelivery, loadDue } from './due'
import { afterAttempt, afterReport, HEALTHY } from './health'
import { paceOf } from './pace'
import type { Handed } from './ready'
import { isPlain, report } from './report'
import type { Attempt } from './schema'
import { asOfNow, send, type Target, targetOf } from './sending'
import type { Tally } from './tally'
import { tellTogether } from './together'
import { stops } from './untold'
import { judge, ofProbe, type Verdict } from './verdict'

/** Clocks of two machines are no further apart. */
const SKEW_MS = 1_000

export type Job = DueDelivery & { target: Target; schedule: number[] | null }

/** What an endpoint's object lends to its work. */
export type Lent = {
  tenant_id: string
  endpoint_id: string
  env: () => Bindings
  context: () => Context
  log: AttemptLog
  tally: Tally
  /** Resolves when all that was written is on disk. */
  kept: () => Promise<void>
  /** D1 knows these. */
  told: (reports: readonly Report[]) => void
}

/** The outside of one endpoint's drain: what is due by D1, the attempts themselves, and what D1 is told of them. */
export class EndpointWork implements DrainPorts<Job> {
  /** The endpoint as it was read last, its secrets opened. */
  private opened: { row: EndpointRow; target: Target } | null = null
  /** When it was last told that what was read may be so no longer. */
  private changedAt = 0

  constructor(private readonly of: Lent) {}

  now(): number {
    return Date.now()
  }

  kept(): Promise<void> {
    return this.of.kept()
  }

  pace(wanted: number): Promise<{ count: number; wait: number }> {
    return paceOf(this.of.env(), this.of.tenant_id, wanted)
  }

  /** What was read of the endpoint may be so no longer. */
  change(): void {
    this.opened = null
    this.changedAt = Date.now()
  }

  /**
   * Deliveries that were made just now, as they go out without another look at D1; null where the endpoint is not as it was
   * read with them, or somebody changed anything since. None of them was attempted.
   */
  async take({ version, read_at, deliveries }: Handed): Promise<Job[] | null> {
    const { opened } = this
    if (opened?.row.version !== version || read_at <= this.changedAt + SKEW_MS) return null
    const target = await asOfNow(this.of.context(), opened.target)
    // It may have changed while that was looked up.
    if (this.opened !== opened) return null
    const schedule = opened.row.retry_schedule
    const fresh = deliveries.filter(({ delivery_id }) => !this.of.log.knows(delivery_id))
    return fresh.map((delivery) => ({ ...delivery, target, schedule }))
  }

  async load(except: readonly string[], limit: number): Promise<Work<Job>> {
    const ctx = this.of.context()
    const { endpoint, due, ...work } = await loadDue(ctx, this.of.endpoint_id, except, limit)
    if (endpoint) this.meet(endpoint)
    if (!endpoint || due.length === 0) return { due: [], ...work }
    if (this.opened?.row.version !== endpoint.version)
      this.opened = { row: endpoint, target: await targetOf(ctx, endpoint) }
    const target = await asOfNow(ctx, this.opened.target)
    const schedule = endpoint.retry_schedule
    return { due: due.map((delivery) => ({ ...delivery, target, schedule })), ...work }
  }

  /** What D1 says of the endpoint wins: a person may have enabled it. */
  private meet({ status }: EndpointRow): void {
    const { log } = this.of
    const { degraded } = log.health
    if (status === 'active' && degraded) log.fare(HEALTHY)
    if (status === 'degraded' && !degraded) log.fare({ ...log.health, degraded: true })
  }

  async report(reports: readonly Report[]): Promise<boolean> {
    const { log, tenant_id, endpoint_id, context, told } = this.of
    const ctx = context()
    const ordered = this.opened?.row.ordered ?? true
    const isTold = !ordered && reports.every(isPlain) && (await tellTogether(ctx.env, tenant_id, reports))
    const more = !isTold && (await report(ctx, endpoint_id, reports, { health: log.health, ordered }))
    // It may stand otherwise now.
    if (reports.some(stops)) this.opened = null
    log.fare(afterReport(log.health, reports))
    told(reports)
    return more
  }

  async attempt(job: Job, begun: Begun, turn: () => Promise<number>): Promise<Judged> {
    const made = await this.make(job, begun, turn)
    this.of.tally.add(made.attempt, made.verdict, Date.now())
    return made
  }

  private async make(job: Job, { number, place }: Begun, turn: () => Promise<number>): Promise<Judged> {
    const { log, tenant_id } = this.of
    const env = this.of.env()
    const data = await dataText(env, job)
    if (data === null) return unsendable(number)
    const begins = await turn()
    const message = { ...job, data, tenant_id }
    const { attempt, outcome } = await send(settingsOf(env), job.target, message, { number, begins })
    const now = Date.now()
    const judged = judge(outcome, place, now, Math.random(), job.schedule)
    const failed = outcome.error !== null
    const { health, circuit } = afterAttempt(log.health, { failed, probe: job.probe, now })
    log.fare(health)
    const verdict = { ...(job.probe ? ofProbe(judged, now) : judged), circuit }
    countAttempt(env, verdict, job.timestamp, now)
    return { attempt, verdict }
  }
}

type Judged = { attempt: Attempt; verdict: Verdict }

/** The payload's time is over: the delivery ends without a request. */
function unsendable(number: number): Judged {
  return {
    attempt: {
      number,
      attempted_at: new Date().toISOString(),
      duration_ms: 0,
      response_status: null,
      response_body: null,
      response_headers: null,
      request_headers: {},
      error: 'payload: it is no longer kept',
    },
    verdict: { status: 'failed', next_attempt_at: null, disable: null, wait_until: null, circuit: null },
  }
}
