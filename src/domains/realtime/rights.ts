/** A credential beside an open connection, as it was last looked at. */
export type Keyed = { key: string }

/** What was found out of a credential at most this long ago still holds (chat.md: “at most 5 s before”). */
export const FRESH_MS = 5_000
/** While a run goes on, rights are looked up anew before they grow stale, so that no frame waits for it. */
export const REFRESH_MS = 4_000

/** Looks at one credential in a row, where each was out of date by the time it was answered. */
const MOST_LOOKS = 3

/** Why a connection ends: 4401 its credential no longer counts, 4403 it may no longer read this. */
export type Loss = { code: 4401 | 4403; reason: string }

/** Looks up what the credentials may do here now; a Loss for who may do nothing. */
export type LookUp<C extends Keyed> = (callers: C[]) => Promise<Map<string, C | Loss>>

export const GONE: Loss = { code: 4401, reason: 'the credential no longer counts' }

type Known<C extends Keyed> = { at: number; verdict: C | Loss; count: number }

export const isLoss = <C extends Keyed>(verdict: C | Loss): verdict is Loss => 'code' in verdict

/**
 * What the connected credentials may do, as it was at most five seconds ago. One look-up answers for all that are asked
 * about at the time.
 */
export class Rights<C extends Keyed> {
  private readonly known = new Map<string, Known<C>>()
  private looking: Promise<void> | null = null
  /** Counts how often all was forgotten. */
  count = 0

  constructor(
    private readonly lookUp: LookUp<C>,
    private readonly freshMs = FRESH_MS,
  ) {}

  /**
   * Notes what the front door has verified; that a right was lost is known better here. `count` is from before the chat
   * itself was asked.
   */
  admit(caller: C, now: number, count = this.count): void {
    const known = this.of(caller.key, now)
    if (known === null || !isLoss(known)) this.known.set(caller.key, { at: now, verdict: caller, count })
  }

  /** The verdict on a credential, or null where it is too old to act on. */
  of(key: string, now: number): C | Loss | null {
    const known = this.known.get(key)
    return known?.count === this.count && now - known.at < this.freshMs ? known.verdict : null
  }

  /** What the caller may do, looked up if it was not lately; rejects where the look-up fails. */
  async settle(caller: C): Promise<C | Loss> {
    for (let looks = 0; ; looks += 1) {
      const verdict = this.of(caller.key, Date.now())
      if (verdict !== null) return verdict
      if (looks === MOST_LOOKS) throw new Error('rights change faster than they are looked up')
      await this.refresh([caller])
    }
  }

  /** Makes all that is known, or being looked up, too old to act on. */
  forget(): void {
    this.count += 1
  }

  /** Looks all of them up, in one go with whoever asks meanwhile; rejects where the look-up fails. */
  async refresh(callers: C[]): Promise<void> {
    while (this.looking) await this.looking.catch(() => {})
    const now = Date.now()
    const asked = callers.filter((caller) => {
      const known = this.known.get(caller.key)
      return known?.count !== this.count || now - known.at > this.freshMs / 5
    })
    if (asked.length === 0) return
    this.looking = this.look(asked, now).finally(() => {
      this.looking = null
    })
    await this.looking
  }

  /** Forgets what is old about who is not connected any more. */
  keepOnly(keys: ReadonlySet<string>): void {
    const now = Date.now()
    for (const key of this.known.keys())
      if (!keys.has(key) && this.of(key, now) === null) this.known.delete(key)
  }

  private async look(callers: C[], now: number): Promise<void> {
    const { count } = this
    const verdicts = await this.lookUp(callers)
    for (const { key } of callers) {
      this.known.set(key, { at: now, verdict: verdicts.get(key) ?? GONE, count })
    }
  }
}
