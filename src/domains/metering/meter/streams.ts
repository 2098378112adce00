// How many streams and sockets a tenant has open. Whoever holds them says how many it has, whenever that changes: whole
// numbers, not steps, so that a lost word is made good by the next. A holder that crashed says nothing any more; it is
// asked before anyone is refused because of it, and whenever somebody looks.

/** What a holder says of itself. */
export type StreamReport = {
  /** Its name: that of the object. */
  holder: string
  /** One life of the holder, and the number of its word in it: what comes late is not believed. */
  life: string
  sequence: number
  open: number
}

export type StreamUse = { open: number; limit: number }

type Held = { life: string; sequence: number; open: number; checkedAt: number }
type Row = { holder: string; life: string; sequence: number; open: number }

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS streams (holder TEXT PRIMARY KEY, life TEXT NOT NULL, sequence INTEGER NOT NULL, open INTEGER NOT NULL) WITHOUT ROWID;
`

/** The gauge of one tenant, in its Meter's SQLite: it must not begin at nothing while streams are open. */
export class Streams {
  private readonly held = new Map<string, Held>()
  private total = 0

  constructor(private readonly sql: SqlStorage) {
    sql.exec(SCHEMA)
    for (const { holder, ...row } of sql.exec<Row>('SELECT holder, life, sequence, open FROM streams'))
      this.set(holder, { ...row, checkedAt: Number.NEGATIVE_INFINITY })
  }

  get open(): number {
    return this.total
  }

  /** Who has any. */
  get holders(): string[] {
    return [...this.held.keys()]
  }

  /** Whether the holder may have so many: fewer than before always. */
  fits({ holder, open }: StreamReport, limit: number): boolean {
    const before = this.held.get(holder)?.open ?? 0
    return open <= before || this.total - before + open <= limit
  }

  /** Believes the report, unless the holder has said something newer. */
  take({ holder, life, sequence, open }: StreamReport, now: number): void {
    const before = this.held.get(holder)
    if (before?.life === life && sequence <= before.sequence) return
    this.set(holder, { life, sequence, open, checkedAt: now })
    if (open > 0)
      this.sql.exec(
        'INSERT OR REPLACE INTO streams (holder, life, sequence, open) VALUES (?, ?, ?, ?)',
        ...[holder, life, sequence, open],
      )
    else this.sql.exec('DELETE FROM streams WHERE holder = ?', holder)
  }

  /** Who but `except` has said nothing since `before`, longest silent first, at most so many. */
  silentSince(before: number, most: number, except?: string): string[] {
    return [...this.held]
      .filter(([holder, { checkedAt }]) => checkedAt < before && holder !== except)
      .sort(([, a], [, b]) => a.checkedAt - b.checkedAt)
      .slice(0, most)
      .map(([holder]) => holder)
  }

  private set(holder: string, held: Held): void {
    this.total += held.open - (this.held.get(holder)?.open ?? 0)
    // Who has none is forgotten: should a late word of it come, it is put right when it is asked.
    if (held.open > 0) this.held.set(holder, held)
    else this.held.delete(holder)
  }
}

/** Holders asked at once, how long one may take to answer, and how long an answer is good. */
const ASKED_AT_ONCE = 50
const PATIENCE_MS = 1_000
const GOOD_MS = 30_000

/**
 * Asks holders that have said nothing lately; who does not answer is believed as before. `except`: who is speaking right
 * now, and would count in what it asks for.
 */
export async function audit(
  streams: Streams,
  ask: (holder: string) => Promise<StreamReport>,
  now: number,
  except?: string,
): Promise<void> {
  const work = streams.silentSince(now - GOOD_MS, ASKED_AT_ONCE, except).map(async (holder) => {
    const report = await Promise.race([
      ask(holder).catch(() => null),
      scheduler.wait(PATIENCE_MS).then(() => null),
    ])
    if (report) streams.take(report, now)
  })
  await Promise.all(work)
}
