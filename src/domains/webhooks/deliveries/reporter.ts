import { DurableObject } from 'cloudflare:workers'
import { demandName } from '../../../data/objects'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import type { Report } from './attempt-log'
import { reportArrived } from './report'

/** What comes within this is told together. */
const GATHER_MS = 20
/** Results that one statement tells: for each row it looks through all that it is told. */
const MOST_AT_ONCE = 50

/**
 * Tells D1 what arrived at all the endpoints of a tenant, many at a time: a hundred endpoints that get a few events a
 * second each would else make a call for each event. It keeps nothing: who told it has it on disk, and waits for D1.
 */
export class DeliveryReporter extends DurableObject<Bindings> {
  private waiting: Report[] = []
  private next: Promise<void> | null = null
  private last: Promise<unknown> = Promise.resolve()

  /** Resolves when D1 knows these. */
  async tell(tenant_id: string, reports: readonly Report[]): Promise<void> {
    demandName(this.ctx, tenant_id)
    this.waiting.push(...reports)
    this.next ??= this.round(tenant_id)
    await this.next
  }

  private async round(tenant_id: string): Promise<void> {
    await Promise.all([scheduler.wait(GATHER_MS), this.last])
    const reports = this.waiting
    this.waiting = []
    const told = this.tellAll(tenant_id, reports)
    this.last = told.catch(() => undefined)
    this.next = null
    await told
  }

  private async tellAll(tenant_id: string, reports: readonly Report[]): Promise<void> {
    const defer = (work: Promise<unknown>) => this.ctx.waitUntil(work)
    const ctx = systemContext(this.env, bareTenant(tenant_id), 'reporter', defer)
    for (let at = 0; at < reports.length; at += MOST_AT_ONCE)
      await reportArrived(ctx, reports.slice(at, at + MOST_AT_ONCE))
  }
}
