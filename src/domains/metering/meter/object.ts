import { DurableObject } from 'cloudflare:workers'
import { tellGauge } from '../../../data/gauges'
import { keepWatch } from '../../../data/outbox'
import { committedChanges } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import { type Limits, limitsOf } from '../../tenancy/plans'
import { termsNow } from '../../tenancy/tenants/limits'
import type { GroupBy, UsageGroup } from '../usage/book'
import { UsageKeeper } from '../usage/keeper'
import type { Sample, UsageReport } from '../usage/line'
import type { Stat } from '../usage/stat'
import { Grants, type Taken, type WindowUse } from './grants'
import { type Host, Hosts } from './guests'
import { openStreamsOf, recheckHolder } from './holders'
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

async function recheckAll<T>(all: readonly T[], recheck: (one: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < all.length; at += RECHECKED_AT_ONCE) {
    const some = all.slice(at, at + RECHECKED_AT_ONCE).map(recheck)
    const failed = (await Promise.allSettled(some)).filter(({ status }) => status === 'rejected')
    // Readers of these end with the next thing that is said to them.
    if (failed.length > 0) log.warn('streams_not_rechecked', { holders: failed.length })
  }
}

/** Owns the windows of one tenant, and tells its isolates what changed. Its name is the tenant's id. */
export class Meter extends DurableObject<Bindings> {
  private grants!: Grants
  private news!: News
  private usage!: UsageKeeper
  private streams!: Streams
  private hosts!: Hosts
  private readonly gauge: StreamGauge
  private readonly deliveries = new Pace()

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    this.begin()
    this.gauge = new StreamGauge(
      () => this.streams.open,
      (value) => tellGauge(env, { metric: 'open_streams', source: ctx.id.name ?? '', value }),
      (work) => ctx.waitUntil(work),
    )
  }

  /** Takes up what is kept, or begins with nothing. */
  private begin(): void {
    const { ctx, env } = this
    const store = new SqliteStore(ctx.storage)
    this.grants = new Grants(store, Date.now())
    const readAll = () => committedChanges(env, ctx.id.name ?? '', Date.now())
    this.news = new News(store, readAll, Date.now())
    this.usage = new UsageKeeper(ctx, env)
    this.streams = new Streams(ctx.storage.sql)
    this.hosts = new Hosts(ctx.storage.sql)
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

  /** Takes several of a window for one request, all or none, in one go: what isolates hold of it is left to them. */
  async take(name: string, period: Period, limit: number, count: number): Promise<Taken> {
    return this.grants.take(name, period, limit, count, Date.now())
  }

  /** Makes changes known to every isolate within ten seconds of its next request; returns the last revision. */
  async tell(changes: Told[]): Promise<number> {
    await this.news.ready(Date.now())
    const revision = this.news.tell(changes, Date.now())
    if (changes.some(endsTenant)) this.ctx.waitUntil(this.recheckStreams())
    this.ctx.waitUntil(this.recheckHosts())
    return revision
  }

  /** Has every holder of streams look at its readers' rights now: where nothing is said nobody would notice. */
  private recheckStreams(): Promise<void> {
    const tenant_id = this.ctx.id.name ?? ''
    return recheckAll(this.streams.holders, (holder) => recheckHolder(this.env, tenant_id, holder))
  }

  /** Somebody from here, who acts in another tenant, was let in at an object of that. */
  async noteHost(host: Host): Promise<void> {
    this.hosts.note(host, Date.now())
  }

  /** Has those look at the rights of who is from here; where nobody listens any more, nobody looks the next time. */
  private recheckHosts(): Promise<void> {
    const asked = Date.now()
    return recheckAll(this.hosts.all(), async ({ holder, tenant_id }) => {
      await recheckHolder(this.env, tenant_id, holder)
      const { open } = await openStreamsOf(this.env, tenant_id, holder)
      if (open === 0) this.hosts.forget(holder, asked)
    })
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

  /** What was used in each of these times, of the last seven days. */
  async usageTotals(spans: readonly { from: number; to: number }[]): Promise<Stat[]> {
    return spans.map(({ from, to }) => this.usage.book.total(from, to))
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
    // Isolates ask for some seconds yet: they find a Meter that begins, and not one without its tables.
    this.begin()
  }

  private auditStreams(except?: string): Promise<void> {
    const tenantId = this.ctx.id.name ?? ''
    return audit(this.streams, (holder) => openStreamsOf(this.env, tenantId, holder), Date.now(), except)
  }

  private async limits(): Promise<Limits> {
    return limitsOf(await termsNow(this.env, this.ctx.id.name ?? ''))
  }

  override async alarm(): Promise<void> {
    await this.usage.alarm()
  }
}
