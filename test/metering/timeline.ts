/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

type Entry = { at: number; order: number; run: () => void }

/** What is to happen, in the order of time; a binary heap. */
export class Timeline {
  private readonly entries: Entry[] = []
  private order = 0

  add(at: number, run: () => void): void {
    const { entries } = this
    let i = entries.length
    entries.push({ at, order: this.order++, run })
    for (let parent = (i - 1) >> 1; i > 0 && this.before(i, parent); parent = (i - 1) >> 1) {
      this.swap(i, parent)
      i = parent
    }
  }

  /** The next entry up to `until`, taken out. */
  next(until: number): Entry | null {
    const { entries } = this
    const [first] = entries
    if (!first || first.at > until) return null
    const last = entries.pop()
    if (!last || entries.length === 0) return first
    entries[0] = last
    for (let i = 0; ; ) {
      const [left, right] = [2 * i + 1, 2 * i + 2]
      let least = i
      if (left < entries.length && this.before(left, least)) least = left
      if (right < entries.length && this.before(right, least)) least = right
      if (least === i) return first
      this.swap(i, least)
      i = least
    }
  }

  private before(i: number, j: number): boolean {
    const [a, b] = [this.entries[i], this.entries[j]]
    return a !== undefined && b !== undefined && (a.at < b.at || (a.at === b.at && a.order < b.order))
  }

  private swap(i: number, j: number): void {
    const [a, b] = [this.entries[i], this.entries[j]]
    if (!a || !b) return
    this.entries[i] = b
    this.entries[j] = a
  }
}

/** The most that lies in any span of `ms`. */
export function mostIn(times: readonly number[], ms: number): number {
  const sorted = Float64Array.from(times).sort()
  let most = 0
  let from = 0
  for (const [to, time] of sorted.entries()) {
    while (time - (sorted[from] ?? time) >= ms) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}
