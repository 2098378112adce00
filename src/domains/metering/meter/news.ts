import { describeError, log } from '../../../lib/log'
import { type Change, Ledger, type Told } from './ledger'

/** Where a Meter keeps what it was told. */
export type NewsStore = {
  readChanges(): { changes: Change[]; revision: number | null }
  writeChanges(added: Change[], gone: Change[], revision: number): void
}

/** Nobody waits longer for D1 than this: a lease is worth more than news that come with the next. */
const PATIENCE_MS = 500
/** D1 that failed, or was slow, is asked again after so long. */
const AGAIN_MS = 2_000

/**
 * What one tenant's isolates must know. A Meter that begins, or has lost all that it kept, reads from D1 what it should
 * have been told.
 */
export class News {
  private readonly ledger: Ledger
  private begun: boolean
  private triedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly store: NewsStore,
    private readonly readAll: () => Promise<Told[]>,
    now: number,
  ) {
    const { changes, revision } = store.readChanges()
    this.begun = revision !== null
    // Above whatever a Meter gave that has lost its memory since: its isolates are told everything anew.
    this.ledger = new Ledger(changes, revision ?? now)
  }

  /** Resolves when the Meter knows what there is to know, or when that takes too long; undefined where it knows. */
  ready(now: number): Promise<unknown> | undefined {
    if (this.begun || now < this.triedAt + AGAIN_MS) return undefined
    this.triedAt = now
    const begin = this.readAll().then(
      (all) => this.begin(all, Date.now()),
      (error: unknown) => log.error('meter_news_unread', { cause: describeError(error) }),
    )
    return Promise.race([begin, scheduler.wait(PATIENCE_MS)])
  }

  /** Takes in what was committed, and says up to which revision its isolates can know. */
  tell(changes: Told[], now: number): number {
    const gone = this.ledger.prune(now)
    const added = changes.flatMap((change) => this.ledger.add(change) ?? [])
    // Until D1 was read nothing is kept: a Meter that starts anew must not take a part for the whole.
    if (this.begun) this.store.writeChanges(added, gone, this.ledger.revision)
    return this.ledger.revision
  }

  since(revision: number, now: number): { revision: number; changes: Change[]; more: boolean } {
    return this.ledger.since(revision, now)
  }

  private begin(all: Told[], now: number): void {
    if (this.begun) return
    this.ledger.prune(now)
    for (const change of all) this.ledger.add(change)
    this.store.writeChanges(this.ledger.all(), [], this.ledger.revision)
    this.begun = true
  }
}
