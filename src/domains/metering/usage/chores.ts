import type { Context } from '../../../data/context'
import { keysUsed } from '../../identity/api-keys/uses'
import { archive } from './archive'
import { DAY_MS, floorTo, HOUR_MS, MINUTES_KEPT_MS, type UsageBook } from './book'
import type { UsageStore } from './store'

/** Reports of an hour may come until then; what comes later makes the hour be written again. */
const SETTLED_MS = 2 * 60_000
/** Not every tenant's Meter writes in the same moment. */
const SPREAD_MS = 8 * 60_000
/** A key's use is told at once, but once for the reports that come together. */
const SOON_MS = 1_000
/** Hours written at a time: a Meter that was behind catches up step by step. */
const HOURS_AT_ONCE = 6

/** What a Meter does by its alarm: tells which keys were used, writes hours and days to D1, and drops what is old. */
export class UsageChores {
  constructor(
    private readonly store: UsageStore,
    private readonly book: UsageBook,
  ) {}

  /** When the next chore is due; null where nothing is left to do. */
  dueAt(now: number, tenantId: string): number | null {
    const times: number[] = []
    if (this.store.untoldKeys().length > 0) times.push(now + SOON_MS)
    const [hour] = this.store.unarchived(Number.MAX_SAFE_INTEGER)
    if (hour) times.push(Math.max(now + SOON_MS, settledAt(hour.at, tenantId)))
    const first = this.store.firstHour()
    if (first !== null) times.push(Math.max(now + HOUR_MS, first + MINUTES_KEPT_MS + 3 * DAY_MS))
    return times.length > 0 ? Math.min(...times) : null
  }

  /** Does what is due. What fails stays due. */
  async run(ctx: Context): Promise<void> {
    const keys = this.store.untoldKeys()
    if (keys.length > 0) {
      await keysUsed(ctx, keys)
      this.store.markTold(keys)
    }
    await this.archiveHours(ctx)
    this.book.drop(ctx.now)
  }

  private async archiveHours(ctx: Context): Promise<void> {
    const behind = this.store
      .unarchived(ctx.now)
      .filter(({ at }) => settledAt(at, ctx.tenant.id) <= ctx.now)
      .slice(0, HOURS_AT_ONCE)
    if (behind.length === 0) return
    const days = new Set(behind.map(({ at }) => floorTo(DAY_MS, at)))
    await archive(ctx, [
      ...behind.map(({ at }) => ({ grain: 'hour' as const, at, totals: this.book.whole(at, at + HOUR_MS) })),
      // A day that is not over is written as far as it is; its last hour makes it whole.
      ...[...days].map((at) => ({ grain: 'day' as const, at, totals: this.book.whole(at, at + DAY_MS) })),
    ])
    // What was reported meanwhile has raised the hour's revision, and makes it due again.
    this.store.markArchived(behind)
  }
}

const settledAt = (hour: number, tenantId: string): number =>
  hour + HOUR_MS + SETTLED_MS + (hashOf(tenantId) % SPREAD_MS)

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
