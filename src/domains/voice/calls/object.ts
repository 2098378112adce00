import { DurableObject } from 'cloudflare:workers'
import { demandName } from '../../../data/objects'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { driveCalls } from './drive'

/** A crash in the middle of a turn brings it back after so long. */
const KEEP_ALIVE_MS = 15_000
/** One alarm looks at what is due so often at most: an invocation has a thousand calls. */
const LOOKS_OF_TURN = 5
/** How long to wait before D1 is tried again, at first; it doubles up to the longest. */
const D1_RETRY_MS = 1_000
const D1_LONGEST_RETRY_MS = 30_000

/**
 * Does what is due for the calls of one tenant, and nothing else does. How they stand and when something is due for them
 * is in D1 alone; here is no more than an alarm, and while no call is under way, nothing.
 */
export class CallDriver extends DurableObject<Bindings> {
  /** Somebody has called since the rows were read last. */
  private woken = false
  private outages = 0

  /** Something is due. When this resolves it will be looked at, whatever becomes of this object. */
  async wake(tenant_id: string): Promise<void> {
    demandName(this.ctx, tenant_id)
    this.woken = true
    await this.ctx.storage.put('tenant_id', tenant_id)
    await this.ctx.storage.setAlarm(Date.now())
  }

  /** Forgets all; for a tenant that is deleted. */
  async erase(): Promise<void> {
    await Promise.all([this.ctx.storage.deleteAlarm(), this.ctx.storage.deleteAll()])
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  override async alarm(): Promise<void> {
    try {
      await this.ctx.storage.setAlarm(Date.now() + KEEP_ALIVE_MS)
      const tenantId = await this.ctx.storage.get<string>('tenant_id')
      const next = tenantId ? await this.turn(tenantId) : null
      // Nothing is awaited between the last look at `woken` and this: whoever wakes it next sets an alarm after.
      if (next !== null) await this.ctx.storage.setAlarm(next)
      else await this.erase()
    } catch (error) {
      log.error('calls_alarm_failed', { cause: describeError(error) })
    }
  }

  /** Looks until nothing is due; answers when something is next, null where no call is under way. */
  private async turn(tenantId: string): Promise<number | null> {
    try {
      for (let looks = 0; looks < LOOKS_OF_TURN; looks++) {
        this.woken = false
        const context = systemContext(this.env, bareTenant(tenantId), 'calls', (work) =>
          this.ctx.waitUntil(work),
        )
        const next = await driveCalls(context)
        this.outages = 0
        if (!this.woken && (next === null || next > Date.now())) return next
      }
      return Date.now()
    } catch (error) {
      log.warn('calls_not_driven', {
        ...{ tenant_id: tenantId, outages: this.outages },
        cause: describeError(error),
      })
      const wait = Math.min(D1_RETRY_MS * 2 ** this.outages, D1_LONGEST_RETRY_MS)
      this.outages += 1
      return Date.now() + wait
    }
  }
}
