import type { DrainPorts, Due } from './drain-ports'
import { Slots } from './slots'

/** So long before its time an attempt is claimed where the endpoint has a rate of its own. */
const AHEAD_MS = 100

/** What was claimed does not go out: the endpoint changed before its turn. */
export class Stopped extends Error {}

/** How it stands when the turn of an attempt comes. */
export type Standing = { stopped: () => boolean; width: () => number; taken: () => void }

/** One attempt that was claimed: `take` resolves when it may go out, with the time; `free` is called when it is over. */
export type Turn = { take: () => Promise<number>; free: () => void }

/** Lets the attempts of an endpoint that has a rate of its own go out one after the other, by that rate. */
export class Turns {
  private readonly slots = new Slots()
  /** How many are claimed and wait for their turn, and how many had it and are under way. */
  private waiting = 0
  private flying = 0
  private last: Promise<unknown> = Promise.resolve()
  private landed: () => void = () => {}

  constructor(
    private readonly ports: Pick<DrainPorts<Due>, 'now' | 'kept'>,
    /** When the last attempt before a crash began. */
    private lastBegun: number | null,
  ) {}

  /** It is known by which rate they go: what began before a crash counts by it. */
  resume(rate: number | null): void {
    if (rate === null || this.lastBegun === null) return
    this.slots.resume(rate, this.lastBegun)
    this.lastBegun = null
  }

  /** When the next may be claimed, somewhat before its turn. */
  claimAt(rate: number): number {
    return this.slots.at(rate, this.ports.now()) + (this.waiting * 1_000) / rate - AHEAD_MS
  }

  /** An attempt is claimed. */
  claim(rate: number, standing: Standing): Turn {
    let had = false
    this.waiting += 1
    const take = async () => {
      const at = await this.come(rate, standing)
      had = true
      return at
    }
    const free = () => {
      if (had) this.flying -= 1
      else this.waiting -= 1
      this.landed()
    }
    return { take, free }
  }

  private come(rate: number, { stopped, width, taken }: Standing): Promise<number> {
    const mine = Promise.all([this.last, this.ports.kept()]).then(async () => {
      for (;;) {
        const now = this.ports.now()
        const at = this.slots.at(rate, now)
        if (stopped()) throw new Stopped()
        if (this.flying >= width()) await new Promise<void>((resolve) => (this.landed = resolve))
        else if (at > now) await new Promise((resolve) => setTimeout(resolve, Math.ceil(at - now)))
        else break
      }
      const begins = this.ports.now()
      this.slots.take(rate, begins)
      this.waiting -= 1
      this.flying += 1
      taken()
      return begins
    })
    this.last = mine.catch(() => undefined)
    return mine
  }
}
