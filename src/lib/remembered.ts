type Entry<V> = { value: V; checkedAt: number; refreshingSince: number }

/**
 * Values an isolate remembers for a short while. Past `freshMs` one caller looks again while the others go on with
 * what there is; past `maxMs` everyone looks. Values are shared between requests, never promises: a promise dies with
 * the request that made it.
 */
export class Remembered<V> {
  private readonly entries = new Map<string, Entry<V>>()
  /** Counts what was forgotten: a look that began before may have seen what was, and is not kept. */
  private forgotten = 0

  constructor(
    private readonly freshMs: number,
    private readonly maxMs: number,
    private readonly most = 10_000,
  ) {}

  /** The value for `key`, by `look` where it is not fresh. */
  async get(key: string, now: number, look: () => Promise<V>): Promise<V> {
    const entry = this.entries.get(key)
    if (entry) {
      const age = now - entry.checkedAt
      const refreshing = now - entry.refreshingSince < 1_000
      if (age < this.freshMs || (age < this.maxMs && refreshing)) return entry.value
      entry.refreshingSince = now
    }
    const { forgotten } = this
    const value = await look()
    if (forgotten !== this.forgotten) return value
    if (this.entries.size >= this.most) this.entries.clear()
    this.entries.set(key, { value, checkedAt: now, refreshingSince: 0 })
    return value
  }

  forget(key: string): void {
    this.forgotten += 1
    this.entries.delete(key)
  }

  /** Forgets every entry whose value `gone` says is meant. */
  forgetWhere(gone: (value: V) => boolean): void {
    this.forgotten += 1
    for (const [key, entry] of this.entries) if (gone(entry.value)) this.entries.delete(key)
  }
}
