import type { DrainPorts, Due } from './drain-ports'

/** What was read is acted upon for so long; then it is read again. Who stops an endpoint says so besides. */
const FRESH_MS = 500
/** Deliveries that are read at once: twice what went out since the last reading, within these. */
export const LEAST_READ = 8
const MOST_READ = 64

/** What is due for one endpoint, as it was read last: what of it has not begun yet, and when more is due. */
export class Reading<D extends Due> {
  rate: number | null = null
  ordered = false
  nextAt: number | null = null
  /** Before this the tenant's rate lets no attempt begin. */
  heldUntil = 0
  loading = false
  private ready: D[] = []
  private readAt = 0
  private begunSince = 0
  /** Goes up with all that was read and counts no longer. */
  private age = 0

  constructor(private readonly ports: Pick<DrainPorts<D>, 'now' | 'load' | 'pace'>) {}

  get size(): number {
    return this.ready.length
  }

  isDue(): boolean {
    return this.nextAt !== null && this.nextAt <= this.ports.now()
  }

  isStale(): boolean {
    return this.ports.now() - this.readAt > FRESH_MS
  }

  /** Something is due at `at`, too. */
  expect(at: number): void {
    if (this.nextAt === null || at < this.nextAt) this.nextAt = at
  }

  /** What was read counts no longer; answers whether anything waited. */
  forget(): boolean {
    const waited = this.ready.length > 0
    this.age += 1
    this.ready = []
    return waited
  }

  /** Adds what is due and neither waits here nor is `busy`. */
  put(deliveries: readonly D[], busy: ReadonlySet<string>): void {
    if (this.ready.length === 0) this.readAt = this.ports.now()
    const known = new Set([...busy, ...this.ready.map((one) => one.delivery_id)])
    this.ready.push(...deliveries.filter((one) => !known.has(one.delivery_id)))
  }

  /** The next that is to begin. */
  shift(): D | undefined {
    const next = this.ready.shift()
    if (next) this.begunSince += 1
    return next
  }

  /** Reads what is due and not `busy`; answers whether it has to be read again. */
  async load(busy: ReadonlySet<string>): Promise<boolean> {
    const age = this.age
    const most = Math.min(Math.max(2 * this.begunSince, LEAST_READ), MOST_READ)
    const limit = this.rate === null ? most : Math.min(most, Math.ceil(this.rate / 4))
    this.begunSince = 0
    const work = await this.ports.load([...busy, ...this.ready.map((one) => one.delivery_id)], limit)
    const wanted = work.due.length
    const { count, wait } = wanted === 0 ? { count: 0, wait: 0 } : await this.ports.pace(wanted)
    const now = this.ports.now()
    if (count < wanted) this.heldUntil = now + wait
    if (age !== this.age) return true
    this.ordered = work.ordered ?? false
    this.rate = work.rate ?? null
    this.nextAt = work.next_at
    if (this.ready.length === 0) this.readAt = now
    this.ready.push(...work.due.slice(0, count))
    return count < wanted
  }
}
