import { DurableObject } from 'cloudflare:workers'
import { committedChanges } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { Grants, type WindowUse } from './grants'
import type { LeaseAnswer, LeaseRequest } from './lease'
import type { Told } from './ledger'
import { News } from './news'
import { MIN_LIFE_MS } from './sizing'
import { SqliteStore } from './sqlite'
import type { Period } from './window'

/** Owns the windows of one tenant, and tells its isolates what changed. Its name is the tenant's id. */
export class Meter extends DurableObject<Bindings> {
  private readonly store: SqliteStore
  private readonly grants: Grants
  private readonly news: News

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    this.store = new SqliteStore(ctx.storage)
    this.grants = new Grants(this.store, Date.now())
    const readAll = () => committedChanges(env, ctx.id.name ?? '', Date.now())
    this.news = new News(this.store, readAll, Date.now())
  }

  /** Lends requests of the windows that are asked for, and says what changed since the isolate asked last. */
  async lease(request: LeaseRequest): Promise<LeaseAnswer> {
    const ready = this.news.ready(Date.now())
    if (ready) await ready
    const now = Date.now()
    const { fresh: _, life, ...decision } = this.grants.lease(request, now)
    const news = this.news.since(request.revision, now)
    return { ...decision, life: news.more ? Math.min(life, MIN_LIFE_MS) : life, ...news }
  }

  /** Makes changes known to every isolate within ten seconds of its next request; returns the last revision. */
  async tell(changes: Told[]): Promise<number> {
    await this.news.ready(Date.now())
    return this.news.tell(changes, Date.now())
  }

  /** How the windows stand. What isolates hold counts as used until they report it. */
  async look(windows: { name: string; period: Period; limit: number }[]): Promise<WindowUse[]> {
    return this.grants.look(windows, Date.now())
  }
}
