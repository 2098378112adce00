type Fact = string | number | boolean | null

/** Something an isolate must know within ten seconds. What a kind means is for those who write and read it. */
export type Change = {
  revision: number
  /** Ascends in the order of commit; one that comes after a later one of its kind and id is too late. */
  seq: number
  kind: string
  id: string
  /** Milliseconds since 1970 after which nobody needs it, such as the end of the revoked token; null: never. */
  until: number | null
  data: Fact | { [field: string]: Fact }
}

/** A change as it was committed; the Meter numbers it. */
export type Told = Omit<Change, 'revision'>

/** Many enough for any burst of revocations, few enough for one answer (about 200 kB). */
const AT_ONCE = 2_000

/** What changed, by ascending revision; a later change of the same kind and id takes the earlier one's place. */
export class Ledger {
  private readonly changes = new Map<string, Change>()

  /** `saved` in ascending order; `revision` is the last one given, which may be pruned already. */
  constructor(
    saved: Iterable<Change> = [],
    private last = 0,
  ) {
    for (const change of saved) {
      this.changes.set(keyOf(change), change)
      this.last = Math.max(this.last, change.revision)
    }
  }

  get revision(): number {
    return this.last
  }

  get size(): number {
    return this.changes.size
  }

  /** Everything, by ascending revision. */
  all(): Change[] {
    return [...this.changes.values()]
  }

  /** Null where this one, or a later one of its kind and id, is known already. */
  add(change: Told): Change | null {
    const known = this.changes.get(keyOf(change))
    if (known && known.seq >= change.seq) return null
    const added = { ...change, revision: ++this.last }
    // A Map keeps the place of a key that is set again; the newest belongs at the end.
    this.changes.delete(keyOf(added))
    this.changes.set(keyOf(added), added)
    return added
  }

  /** What came after `revision`, oldest first, and up to which revision that goes. A revision from before a loss of
   *  everything (it is ahead of ours) gets the whole. */
  since(revision: number, now: number): { revision: number; changes: Change[]; more: boolean } {
    if (revision === this.last) return { revision, changes: [], more: false }
    const from = revision > this.last ? 0 : revision
    const found: Change[] = []
    for (const change of this.changes.values()) {
      if (change.revision <= from || isOver(change, now)) continue
      if (found.length === AT_ONCE)
        return { revision: found.at(-1)?.revision ?? from, changes: found, more: true }
      found.push(change)
    }
    return { revision: this.last, changes: found, more: false }
  }

  /** Forgets what nobody needs any more and returns it. */
  prune(now: number): Change[] {
    const gone = [...this.changes.values()].filter((change) => isOver(change, now))
    for (const change of gone) this.changes.delete(keyOf(change))
    return gone
  }
}

const keyOf = ({ kind, id }: Told) => `${kind}\n${id}`

const isOver = ({ until }: Change, now: number) => until !== null && until <= now
