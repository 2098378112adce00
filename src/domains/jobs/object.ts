import { DurableObject } from 'cloudflare:workers'
import { demandName } from '../../data/objects'
import { bareTenant, systemContext } from '../../data/system'
import type { Bindings } from '../../env'
import { describeError, log } from '../../lib/log'
import { makeStep } from './steps'

/** A crash in the middle of a step brings the job back after so long. */
const KEEP_ALIVE_MS = 15_000
/** One alarm makes steps for so long, and at most so many: an invocation has a thousand calls. */
const TURN_MS = 10_000
const STEPS_OF_TURN = 100
/** How long to wait before D1 is tried again, at first; it doubles up to the longest. */
const D1_RETRY_MS = 1_000
const D1_LONGEST_RETRY_MS = 30_000

type Name = { tenant_id: string; job_id: string }

/**
 * Makes the steps of one job, one after the other: nothing else does. What the job is, how far it got and when its next
 * step is due stand in D1 alone; here is no more than an alarm, and after the end nothing.
 */
export class JobRunner extends DurableObject<Bindings> {
  /** Somebody has called since the row was read last. */
  private woken = false
  private outages = 0

  /** A step is due, or the job was cancelled. When this resolves it will be looked at, whatever becomes of this object. */
  async wake(tenant_id: string, job_id: string): Promise<void> {
    demandName(this.ctx, `${tenant_id}/${job_id}`)
    this.woken = true
    await this.ctx.storage.put<Name>('name', { tenant_id, job_id })
    await this.ctx.storage.setAlarm(Date.now())
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  override async alarm(): Promise<void> {
    try {
      await this.ctx.storage.setAlarm(Date.now() + KEEP_ALIVE_MS)
      const name = await this.ctx.storage.get<Name>('name')
      const next = name ? await this.turn(name) : null
      if (next !== null) await this.ctx.storage.setAlarm(next)
      else await this.end()
    } catch (error) {
      log.error('job_alarm_failed', { cause: describeError(error) })
    }
  }

  /** Makes steps until one is due later; answers when, null after the last. */
  private async turn(name: Name): Promise<number | null> {
    const until = Date.now() + TURN_MS
    try {
      for (let made = 0; made < STEPS_OF_TURN && Date.now() < until; made++) {
        this.woken = false
        const next = await makeStep(this.context(name), name.job_id)
        this.outages = 0
        if (!this.woken && (next === null || next > Date.now())) return next
      }
      return Date.now()
    } catch (error) {
      log.warn('job_step_not_written', { ...name, outages: this.outages, cause: describeError(error) })
      const wait = Math.min(D1_RETRY_MS * 2 ** this.outages, D1_LONGEST_RETRY_MS)
      this.outages += 1
      return Date.now() + wait
    }
  }

  /** Nothing is awaited between the last look at `woken` and this: whoever wakes it next finds it empty, and fills it. */
  private async end(): Promise<void> {
    await Promise.all([this.ctx.storage.deleteAlarm(), this.ctx.storage.deleteAll()])
  }

  private context({ tenant_id }: Name) {
    return systemContext(this.env, bareTenant(tenant_id), 'job', (work) => this.ctx.waitUntil(work))
  }
}
