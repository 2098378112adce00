import { DurableObject } from 'cloudflare:workers'
import { report as reportMetrics } from '../../../data/metrics'
import { bareTenant, systemContext } from '../../../data/system'
import { type Bindings, type Settings, settingsOf } from '../../../env'
import { log } from '../../../lib/log'
import { AttemptLog } from './attempt-log'
import { countAttempt } from './counts'
import { Drain } from './drain'
import { type DueDelivery, loadDue } from './due'
import { paceOf } from './pace'
import { report } from './report'
import type { Attempt } from './schema'
import { send, type Target, targetOf } from './sending'
import { judge, type Verdict } from './verdict'

/** While attempts are under way an alarm this far ahead keeps the object alive, and brings it back after a crash. */
const KEEP_ALIVE_MS = 10_000
/** How long to wait before D1 is tried again, at first; it doubles up to the longest. */
const D1_RETRY_MS = 1_000
const D1_LONGEST_RETRY_MS = 30_000

type Name = { tenant_id: string; endpoint_id: string }
type Job = DueDelivery & { target: Target }

/**
 * Makes the attempts of one endpoint: nothing else does. When a delivery is due stands in D1 alone; the alarm is set by
 * what was read there, and with nothing pending there is none.
 */
export class EndpointSender extends DurableObject<Bindings> {
  private readonly log: AttemptLog
  private name: Name | undefined
  private armedAt: number | null = null
  private drain: Drain<Job> | undefined
  private run: Promise<void> | null = null
  /** Whether the last run left anything for later. */
  private pending = false
  private failures = 0
  private opened: { version: number; target: Target } | null = null

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    this.log = new AttemptLog(ctx.storage.sql)
    this.log.recover(Date.now())
    ctx.blockConcurrencyWhile(async () => {
      this.name = await ctx.storage.get<Name>('name')
      this.armedAt = await ctx.storage.getAlarm()
    })
  }

  /** Something is due. When this resolves the attempts will be made, whatever becomes of this object. */
  async wake(tenant_id: string, endpoint_id: string, retry: boolean): Promise<void> {
    if (!this.name) {
      this.name = { tenant_id, endpoint_id }
      await this.ctx.storage.put('name', this.name)
    }
    await this.keepAlive()
    this.start(this.name)
    if (retry) this.drain?.wake(true)
  }

  /** The attempts of one delivery that have ended, in order. */
  async attempts(deliveryId: string): Promise<Attempt[]> {
    return this.log.of(deliveryId)
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  override async alarm(): Promise<void> {
    this.armedAt = null
    try {
      this.log.flush()
      await this.keepAlive()
      if (!this.name) return await this.ctx.storage.deleteAlarm()
      // A handler that waits keeps the object alive; a longer run goes on under the alarm that is due by then.
      await Promise.race([this.start(this.name), scheduler.wait(KEEP_ALIVE_MS)])
      await reportMetrics(this.env)
      if (this.run || this.pending) return
      this.armedAt = null
      await this.ctx.storage.deleteAlarm()
    } catch (error) {
      log.error('sender_alarm_failed', { ...this.name, cause: String(error) })
    }
  }

  /** Deletes all that it keeps, with its tenant. */
  async erase(): Promise<void> {
    this.name = undefined
    this.armedAt = null
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
  }

  private async keepAlive(): Promise<void> {
    const at = Date.now() + KEEP_ALIVE_MS
    if (this.armedAt !== null && this.armedAt <= at) return
    this.armedAt = at
    await this.ctx.storage.setAlarm(at)
  }

  private start(name: Name): Promise<void> {
    this.drain ??= this.makeDrain(name)
    if (this.run) this.drain.wake()
    else this.run = this.work(name, this.drain)
    return this.run
  }

  /** Drains what is due, then sets the alarm for the next; without one the alarm that is set finds nothing, once. */
  private async work(name: Name, drain: Drain<Job>): Promise<void> {
    let next: number | null
    try {
      next = await drain.run()
      this.failures = 0
    } catch (error) {
      log.warn('drain_failed', { ...name, failures: this.failures, cause: String(error) })
      next = Date.now() + Math.min(D1_RETRY_MS * 2 ** this.failures, D1_LONGEST_RETRY_MS)
      this.failures += 1
    }
    // Nothing is awaited from here to the alarm: a wake that comes next finds both as they should be.
    this.run = null
    this.pending = next !== null
    if (next === null) return
    this.armedAt = next
    await this.ctx.storage.setAlarm(next)
    // Where the next alarm is far off, the object may be gone by then, and with it what it counted.
    if (next > Date.now() + KEEP_ALIVE_MS) await reportMetrics(this.env)
  }

  private makeDrain(name: Name): Drain<Job> {
    const context = () =>
      systemContext(this.env, bareTenant(name.tenant_id), 'sender', (work) => this.ctx.waitUntil(work))
    return new Drain<Job>(this.log, {
      now: () => Date.now(),
      load: async (except, limit) => {
        const ctx = context()
        const { endpoint, due, next_at } = await loadDue(ctx, name.endpoint_id, except, limit)
        if (!endpoint || due.length === 0) return { due: [], next_at }
        if (this.opened?.version !== endpoint.version)
          this.opened = { version: endpoint.version, target: await targetOf(ctx, endpoint) }
        const { target } = this.opened
        return { due: due.map((delivery) => ({ ...delivery, target })), next_at }
      },
      pace: (wanted) => paceOf(this.env, name.tenant_id, wanted),
      attempt: async (job, number) => {
        const made = await attempt(settingsOf(this.env), name.tenant_id, job, number)
        countAttempt(this.env, made.verdict, job.timestamp, Date.now())
        return made
      },
      report: (reports) => report(context(), name.endpoint_id, reports),
    })
  }
}

type Judged = { attempt: Attempt; verdict: Verdict }

async function attempt(settings: Settings, tenant_id: string, job: Job, number: number): Promise<Judged> {
  const { data, target } = job
  if (data === null) return unsendable(number)
  const made = await send(settings, target, { ...job, data, tenant_id }, number)
  return { attempt: made.attempt, verdict: judge(made.outcome, number, Date.now(), Math.random()) }
}

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
    verdict: { status: 'failed', next_attempt_at: null, disable: null, wait_until: null },
  }
}
