import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { UsageBook } from './book'
import { UsageChores } from './chores'
import type { UsageReport } from './line'
import { UsageStore } from './store'

/** A chore that failed is tried again after so long. */
const RETRY_MS = 60_000

/** The usage side of a tenant's Meter: takes reports, and sees by the object's alarm to what is due. */
export class UsageKeeper {
  readonly book: UsageBook
  private readonly store: UsageStore
  private readonly chores: UsageChores
  /** When the alarm goes off, as far as this start of the object knows. */
  private armedFor = Number.POSITIVE_INFINITY

  constructor(
    private readonly state: DurableObjectState,
    private readonly env: Bindings,
  ) {
    this.store = new UsageStore(state.storage)
    this.book = new UsageBook(this.store)
    this.chores = new UsageChores(this.store, this.book)
  }

  /**
   * Takes what an isolate measured; it is on disk before the Meter's answer leaves. Never throws: a report that can't be
   * taken would be sent again and again, and the tenant's limits must not stand still for it.
   */
  take(isolate: string, report: UsageReport, now: number): void {
    try {
      if (!this.book.apply(isolate, report, now)) return
      const tenantId = this.store.tenant() ?? this.state.id.name
      if (tenantId === undefined) throw new Error('a Meter is named by its tenant')
      this.store.keepTenant(tenantId)
      this.arm(now, tenantId)
    } catch (error) {
      log.error('usage_report_lost', { meter: this.state.id.name ?? null, cause: describeError(error) })
    }
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  async alarm(): Promise<void> {
    const tenantId = this.store.tenant()
    if (tenantId === null) return
    this.armedFor = Date.now() + RETRY_MS
    await this.state.storage.setAlarm(this.armedFor)
    try {
      const defer = (work: Promise<unknown>) => this.state.waitUntil(work)
      await this.chores.run(systemContext(this.env, bareTenant(tenantId), 'usage', defer))
      const due = this.chores.dueAt(Date.now(), tenantId)
      this.armedFor = due ?? Number.POSITIVE_INFINITY
      await (due === null ? this.state.storage.deleteAlarm() : this.state.storage.setAlarm(due))
    } catch (error) {
      log.error('usage_chores_failed', { tenant_id: tenantId, cause: describeError(error) })
    }
  }

  private arm(now: number, tenantId: string): void {
    const due = this.chores.dueAt(now, tenantId)
    // One that should have gone off long ago was lost.
    const lost = this.armedFor < now - RETRY_MS
    if (due === null || (due >= this.armedFor && !lost)) return
    this.armedFor = due
    void this.state.storage.setAlarm(due)
  }
}
