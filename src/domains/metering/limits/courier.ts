import type { LeaseAnswer, LeaseRequest } from '../meter/lease'
import type { Defer, Ports } from './ports'

/** Longer than this nobody waits for an answer (limits.md). */
export const HOP_LIMIT_MS = 1_000
/** By then the maker of a call has said that it is late. If it has not, its request is gone and the call with it. */
const MAKER_GONE_MS = HOP_LIMIT_MS + 100
/** A late answer is welcome until then, and no other call is made. */
const GIVE_UP_MS = 5_000
/** A silent Meter is tried again so often. */
const PROBE_MS = 1_000

/** One call to the Meter, on its way. */
export type Flight = {
  sequence: number
  /** By the isolate's clock; null if that went back since. */
  startedAt: number | null
  defer: Defer
  late: boolean
  /** Resolves when the answer was taken in, or is late; never rejects. Dies with its maker's request. */
  done: Promise<unknown>
}

/** Who has the Meter called, and takes in its answers. */
export type Sender = {
  compose: (sequence: number, now: number, demanding: boolean) => LeaseRequest
  receive: (answer: LeaseAnswer, flight: Flight) => void
  /** No answer came, or not in time. */
  missed: (flight: Flight) => void
}

/** Makes the calls to one Meter, one at a time, and knows whether it is silent. */
export class Courier {
  /** The number of the last call. */
  sequence = 0
  /** Since when the Meter is silent. */
  silentSince: number | null = null
  private flight: Flight | null = null
  private triedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly ports: Ports,
    private readonly sender: Sender,
  ) {}

  /** Waits for an answer, one's own or another's, a little more than a second at most. */
  async wait(now: number, defer: Defer): Promise<void> {
    const flight = this.flight ?? this.depart(now, defer, true)
    const since = now - (flight.startedAt ?? now)
    const patience = Math.min(MAKER_GONE_MS, Math.max(MAKER_GONE_MS - HOP_LIMIT_MS, MAKER_GONE_MS - since))
    const gone = this.ports.sleep(patience).then(() => true)
    const abandoned = await Promise.race([flight.done.then(() => false), gone])
    if (abandoned && this.flight === flight && !flight.late) this.flight = null
  }

  /** Calls without anyone waiting, unless a call is under way; `demanding` asks for a new lease. */
  send(now: number, defer: Defer, demanding: boolean): void {
    if (!this.flight) this.depart(now, defer, demanding)
  }

  /** Tries a silent Meter again, every second. */
  probe(now: number, defer: Defer): void {
    if (now < this.triedAt + PROBE_MS) return
    if (this.flight && now >= this.triedAt + GIVE_UP_MS) this.flight = null
    this.send(now, defer, true)
  }

  /** The clock went back to `now`. */
  rewind(now: number): void {
    if (this.flight) this.flight.startedAt = null
    if (this.silentSince !== null) this.silentSince = now
    this.triedAt = Math.min(this.triedAt, now)
  }

  private depart(now: number, defer: Defer, demanding: boolean): Flight {
    const { ports } = this
    const request = this.sender.compose(++this.sequence, now, demanding)
    const flight: Flight = {
      sequence: this.sequence,
      startedAt: now,
      defer,
      late: false,
      done: Promise.resolve(),
    }
    this.flight = flight
    this.triedAt = now
    const landed = this.call(request).then((answer) => this.land(flight, answer))
    flight.done = Promise.race([landed, ports.sleep(HOP_LIMIT_MS).then(() => this.overdue(flight))])
    // Kept alive by its maker: its client may leave, the others still get the answer.
    defer(Promise.race([landed, ports.sleep(GIVE_UP_MS)]))
    return flight
  }

  /** The answer; null if there is none. An object that was replaced throws once and is there again. */
  private async call(request: LeaseRequest): Promise<LeaseAnswer | null> {
    for (let attempt = 0; attempt < 2; attempt++) {
      this.ports.counts.meter_calls += 1
      try {
        return await this.ports.ask(request)
      } catch {
        // The counts say so; the caller goes on by the rule for a silent Meter.
      }
    }
    return null
  }

  private land(flight: Flight, answer: LeaseAnswer | null): void {
    if (this.flight !== flight) return
    if (answer) {
      this.silentSince = null
      // Still the flight meanwhile: if the clock went back since its start, that is noticed now.
      this.sender.receive(answer, flight)
    } else this.fallSilent(flight)
    this.flight = null
  }

  private overdue(flight: Flight): void {
    if (this.flight !== flight) return
    flight.late = true
    this.fallSilent(flight)
  }

  private fallSilent(flight: Flight): void {
    this.ports.counts.meter_silences += 1
    this.silentSince ??= flight.startedAt ?? this.ports.now()
    this.sender.missed(flight)
  }
}
