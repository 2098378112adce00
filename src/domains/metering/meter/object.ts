import { DurableObject } from 'cloudflare:workers'
import { tellGauge } from '../../../data/gauges'
import { objectOf } from '../../../data/objects'
import { keepWatch } from '../../../data/outbox'
import { committedChanges } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import { type Limits, limitsOf } from '../../tenancy/plans'
import { termsNow } from '../../tenancy/tenants/limits'
import type { GroupBy, UsageGroup } from '../usage/book'
import { UsageKeeper } from '../usage/keeper'
import type { Sample, UsageReport } from '../usage/line'
import { Grants, type WindowUse } from './grants'
import type { LeaseAnswer, LeaseRequest } from './lease'
import type { Told } from './ledger'
import { News } from './news'
import { Pace, type Paced } from './pace'
import { MIN_LIFE_MS } from './sizing'
import { SqliteStore } from './sqlite'
import { StreamGauge } from './stream-gauge'
import { audit, type StreamReport, Streams, type StreamUse } from './streams'
import type { Period } from './window'

/** Holders of streams that are asked together. */
const RECHECKED_AT_ONCE = 25

/** Whether a tenant is refused from now on; `data` is as `tenantChange` wrote it (identity/knowledge.ts). */
function endsTenant({ kind, data }: Told): boolean {
  if (kind !== 'tenant') return false
  const { tenant } = data as { tenant: string }
  return (JSON.parse(tenant) as { status: string }).status !== 'active'
}

/** Owns the windows of one tenant, and tells its isolates what changed. Its name is the tenant's id. */
export class Meter extends DurableObject<Bindings> {
  private readonly store: SqliteStore
  private readonly grants: Grants
  private readonly news: News
  private readonly usage: UsageKeeper
  private readonly streams: Streams
  private readonly gauge: StreamGauge
  private readonly deliveries = new Pace()

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    this.store = new SqliteStore(ctx.storage)
    this.grants = new Grants(this.store, Date.now())
    const readAll = () => committedChanges(env, ctx.id.name ?? '', Date.now())
    this.news = new News(this.store, readAll, Date.now())
    this.usage = new UsageKeeper(ctx, env)
    this.streams = new Streams(ctx.storage.sql)
    this.gauge = new StreamGauge(
      () => this.streams.open,
      (value) => tellGauge(env, { metric: 'open_streams', source: ctx.id.name ?? '', value }),
      (work) => ctx.waitUntil(work),
    )
  }

  /** Answers that objects of this class run (`/health/ready`); it counts nothing. */
  async ping(): Promise<'pong'> {
    return 'pong'
  }

  /** Lends requests of the windows that are asked for, and says what changed since the isolate asked last. */
  async lease(request: LeaseRequest): Promise<LeaseAnswer> {
    const ready = this.news.ready(Date.now())
    if (ready) await ready
    const now = Date.now()
    // While anything is asked the sweeper looks for changes that no isolate of ours wrote.
    this.ctx.waitUntil(keepWatch(this.env, now))
    if (request.usage) this.usage.take(request.isolate, request.usage, now)
    const { fresh: _, life, ...decision } = this.grants.lease(request, now)
    const news = this.news.since(request.revision, now)
    if (this.streams.open > 0) this.gauge.touch(now)
    return { ...decision, life: news.more ? Math.min(life, MIN_LIFE_MS) : life, ...news }
  }

  /** Makes changes known to every isolate within ten seconds of its next request; returns the last revision. */
  async tell(changes: Told[]): Promise<number> {
    await this.news.ready(Date.now())
    const revision = this.news.tell(changes, Date.now())
    if (changes.some(endsTenant)) this.ctx.waitUntil(this.recheckStreams())
    return revision
  }

  /** Has every holder of streams look at its readers' rights now: where nothing is said nobody would notice. */
  private async recheckStreams(): Promise<void> {
    const tenant_id = this.ctx.id.name ?? ''
    const recheck = async (holder: string) => {
      const room = await objectOf(this.env, this.env.CHATS, tenant_id, holder)
      await room.recheck({ tenant_id, chat_id: holder.slice(tenant_id.length + 1) })
    }
    const { holders } = this.streams
    for (let at = 0; at < holders.length; at += RECHECKED_AT_ONCE) {
      const some = holders.slice(at, at + RECHECKED_AT_ONCE).map(recheck)
      const failed = (await Promise.allSettled(some)).filter(({ status }) => status === 'rejected')
      // Readers of these end with the next thing that is said to them.
      if (failed.length > 0) log.warn('streams_not_rechecked', { tenant_id, holders: failed.length })
    }
  }

  /** How the windows stand. What isolates hold counts as used until they report it. */
  async look(windows: { name: string; period: Period; limit: number }[]): Promise<WindowUse[]> {
    return this.grants.look(windows, Date.now())
  }

  /** Takes what the holder of streams counted, once for each number; it is on disk when this resolves. */
  async takeUsage(holder: string, report: UsageReport): Promise<void> {
    this.usage.take(holder, report, Date.now())
  }

  /** What was used from `from` on and before `to` (milliseconds since 1970), of the last seven days. */
  async usageGroups(by: GroupBy, from: number, to: number): Promise<UsageGroup[]> {
    return this.usage.book.groups(by, from, to)
  }

  /** Failed and slow requests of the last day, newest first, before the one of that id. */
  async usageSamples(before: number | null, limit: number): Promise<(Sample & { id: number })[]> {
    return this.usage.book.samples(Date.now(), before, limit)
  }

  /** Whether a holder may have as many streams open as it says; then it is noted. */
  async openStream(report: StreamReport): Promise<StreamUse & { admitted: boolean }> {
    const { open_streams: limit } = await this.limits()
    if (!this.streams.fits(report, limit)) await this.auditStreams(report.holder)
    const admitted = this.streams.fits(report, limit)
    if (admitted) this.streams.take(report, Date.now())
    this.gauge.touch(Date.now())
    return { admitted, open: this.streams.open, limit }
  }

  /** Notes how many streams a holder has open. */
  async noteStreams(report: StreamReport): Promise<void> {
    this.streams.take(report, Date.now())
    this.gauge.touch(Date.now())
  }

  /** Who holds the tenant’s open streams, by their names. */
  async streamHolders(): Promise<string[]> {
    return this.streams.holders
  }

  /** How many streams are open. Holders that have said nothing lately are asked. */
  async streamUse(): Promise<StreamUse> {
    const { open_streams: limit } = await this.limits()
    await this.auditStreams()
    this.gauge.touch(Date.now())
    return { open: this.streams.open, limit }
  }

  /** So many of `wanted` deliveries may be made now, and when more may. */
  async pace(wanted: number): Promise<Paced> {
    const { deliveries_per_second: limit } = await this.limits()
    return this.deliveries.take(wanted, limit, Date.now(), Math.random())
  }

  /** Deletes all that it keeps, with its tenant. */
  async erase(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
  }

  private auditStreams(except?: string): Promise<void> {
    // The chats' objects are the only holders there are; their names are the holders'.
    const tenantId = this.ctx.id.name ?? ''
    const ask = async (holder: string) =>
      (await objectOf(this.env, this.env.CHATS, tenantId, holder)).openStreams()
    return audit(this.streams, ask, Date.now(), except)
  }

  private async limits(): Promise<Limits> {
    return limitsOf(await termsNow(this.env, this.ctx.id.name ?? ''))
  }

  override async alarm(): Promise<void> {
    await this.usage.alarm()
  }
}
