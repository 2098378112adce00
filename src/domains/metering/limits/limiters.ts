import { Limiter } from './limiter'
import type { Ports } from './ports'

/** A tenant's limiter is some kB; addresses come and go. */
const MOST = 10_000

/** The limiters of this isolate, one for each tenant or address; who was seen least lately goes first. */
export class Limiters {
  private readonly limiters = new Map<string, Limiter>()

  /** Who was asked for last is in its place already. */
  private latest: Limiter | null = null

  constructor(
    private readonly portsOf: (subject: string) => Ports,
    private readonly most = MOST,
  ) {}

  get size(): number {
    return this.limiters.size
  }

  /** The limiter of a subject. Must be called within a request: ids are random. */
  of(subject: string): Limiter {
    // A limiter that was forgotten begins anew under another id: its Meter must not take it for the old one.
    const limiter = this.limiters.get(subject) ?? new Limiter(crypto.randomUUID(), this.portsOf(subject))
    if (limiter === this.latest) return limiter
    this.latest = limiter
    this.limiters.delete(subject)
    this.limiters.set(subject, limiter)
    if (this.limiters.size > this.most) {
      const [oldest] = this.limiters.keys()
      if (oldest !== undefined) this.limiters.delete(oldest)
    }
    return limiter
  }
}
