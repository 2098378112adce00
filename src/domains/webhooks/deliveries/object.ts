import { DurableObject } from 'cloudflare:workers'
import { report as reportMetrics } from '../../../data/metrics'
import { demandName } from '../../../data/objects'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import { AttemptLog, type Report } from './attempt-log'
import {
  type AttemptPage,
  type AttemptQuery,
  attemptsOf,
  forgetAnswer,
  type Place,
  pageOfAttempts,
} from './attempt-pages'
import { Drain } from './drain'
import { EndpointWork, type Job } from './endpoint-work'
import type { Handed } from './ready'
import type { Attempt } from './schema'
import { Tail } from './tail'
import { type Counts, Tally } from './tally'

/** While attempts are under way an alarm this far ahead keeps the object alive, and brings it back after a crash. */
const KEEP_ALIVE_MS = 10_000
/** How long to wait before D1 is tried again, at first; it doubles up to the longest. */
const D1_RETRY_MS = 1_000
const D1_LONGEST_RETRY_MS = 30_000

type Name = { tenant_id: string; endpoint_id: string }

/**
 * Makes the attempts of one endpoint: nothing else does. When a delivery is due stands in D1 alone; the alarm is set by
 * what was read there, and with nothing pending there is none.
 */
export class EndpointSender extends DurableObject<Bindings> {
  private readonly log: AttemptLog
  private readonly tally: Tally
  private name: Name | undefined
  private armedAt: number | null = null
  private made: Made | undefined
  private run: Promise<void> | null = null
  /** Whether the last run left anything for later. */
  private pending = false
  private failures = 0
  private readonly lastBegun: number | null
  private readonly tails = new Tail(this.ctx.storage, this.env)

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    this.log = new AttemptLog(ctx.storage.sql)
    this.tally = new Tally(ctx.storage.sql)
    this.lastBegun = this.log.lastOpen()
    this.log.recover(Date.now())
    ctx.blockConcurrencyWhile(async () => {
      this.name = await ctx.storage.get<Name>('name')
      this.armedAt = await ctx.storage.getAlarm()
      await this.tails.restore()
    })
  }

  /** Something is due. When this resolves the attempts will be made, whatever becomes of this object. */
  async wake(tenant_id: string, endpoint_id: string, changed: boolean): Promise<void> {
    const name = await this.called(tenant_id, endpoint_id)
    if (changed) this.change(name)
    this.start(name)
  }

  /**
   * The same, with deliveries that were made just now, which go out without another look at D1: where the endpoint is
   * still as it was read with them, nobody has changed anything since, and none of them was attempted.
   */
  async hand(tenant_id: string, endpoint_id: string, handed: Handed): Promise<void> {
    const name = await this.called(tenant_id, endpoint_id)
    const jobs = (await this.made?.work.take(handed)) ?? null
    const taken = jobs !== null && this.made?.drain.hand(jobs) === true
    this.start(name, !taken)
  }

  private change(name: Name): void {
    const { work, drain } = this.making(name)
    work.change()
    drain.wake(true)
  }

  private async called(tenant_id: string, endpoint_id: string): Promise<Name> {
    demandName(this.ctx, `${tenant_id}/${endpoint_id}`)
    if (!this.name) {
      this.name = { tenant_id, endpoint_id }
      await this.ctx.storage.put('name', this.name)
    }
    await this.keepAlive()
    return this.name
  }

  /** Somebody listens to how its attempts end. */
  async listen(): Promise<void> {
    await this.tails.begin()
  }

  /** What its attempts came to, hour by hour, from an hour on (tally.ts). */
  async tallied(first: number): Promise<{ hour: number; counts: Counts }[]> {
    return this.tally.since(first)
  }

  /** The attempts of one delivery that have ended, in order; D1 has been told of them, unless it is away. */
  async attempts(deliveryId: string): Promise<Attempt[]> {
    await this.made?.drain.told(deliveryId)
    return this.log.of(deliveryId)
  }

  /** The attempts that have ended: some of the endpoint's, or those of one delivery in order. */
  async listAttempts(asked: AttemptQuery | { delivery_id: string; content: boolean }): Promise<AttemptPage> {
    if ('limit' in asked) return pageOfAttempts(this.ctx.storage.sql, asked)
    return { rows: attemptsOf(this.ctx.storage.sql, asked.delivery_id, asked.content), end: null }
  }

  /** Keeps nothing of what was sent and answered in these deliveries' attempts, and begins none of what was read before. */
  async forget(deliveryIds: readonly string[]): Promise<void> {
    this.log.forget(deliveryIds)
    if (this.name) this.change(this.name)
  }

  /** Keeps nothing of what one attempt was answered but the status. */
  async forgetAnswer(place: Place): Promise<void> {
    forgetAnswer(this.ctx.storage.sql, place)
  }

  /** Drops the attempts of the deliveries whose ids sort before `deliveryId`. */
  async dropAttemptsBefore(deliveryId: string): Promise<void> {
    this.log.dropBefore(deliveryId)
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  override async alarm(): Promise<void> {
    this.armedAt = null
    try {
      const isQuiet = this.made !== undefined && !this.run && !this.pending
      // It kept the object alive for what has come and gone: there is nothing to look for, and no next one.
      if (!isQuiet) await this.keepAlive()
      this.log.flush()
      if (isQuiet) return await reportMetrics(this.env)
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

  private start(name: Name, look = true): Promise<void> {
    const { drain } = this.making(name)
    if (!this.run) this.run = this.work(name, drain, look)
    else if (look) drain.wake()
    return this.run
  }

  /** Drains what is due, then sets the alarm for the next; without one the alarm that is set finds nothing, once. */
  private async work(name: Name, drain: Drain<Job>, look: boolean): Promise<void> {
    let next: number | null
    try {
      next = await drain.run(look)
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

  private context(name: Name) {
    return systemContext(this.env, bareTenant(name.tenant_id), 'sender', (work) => this.ctx.waitUntil(work))
  }

  private making(name: Name): Made {
    this.made ??= this.make(name)
    return this.made
  }

  private make(name: Name): Made {
    const lent = {
      ...{ ...name, log: this.log, tally: this.tally },
      env: () => this.env,
      context: () => this.context(name),
      kept: () => this.ctx.storage.sync(),
      told: (reports: readonly Report[]) =>
        this.ctx.waitUntil(this.tails.tell(name.tenant_id, name.endpoint_id, reports)),
    }
    const work = new EndpointWork(lent)
    return { work, drain: new Drain<Job>(this.log, work, this.lastBegun) }
  }
}

/** What drains, and its outside. */
type Made = { work: EndpointWork; drain: Drain<Job> }
