import { Counter } from './counter'
import type { Demand, Grant, LeaseRequest, Lent, Report, Unleased } from './lease'
import { namesLent, type Rivals, rivalsOf } from './rivals'
import { roomOf, type Step, takeFrom } from './room'
import { lifeFor, MAX_LIFE_MS, sizeGrant } from './sizing'
import { type Measured, SteadyClock } from './steady-clock'
import type { MeterStore, SavedWindow } from './store'
import { type Dated, PERIODS, type Period } from './window'

/** An isolate that has not asked for so long is gone, or will begin anew. */
const FORGET_MS = 120_000
/** The rate of an isolate that has only just begun. */
const LEAST_RATE = 0.1

/** What the Meter decided; the changes are added by whoever keeps them. */
export type Decision = {
  sequence: number
  life: number
  phase: number
  grants: Grant[]
  /** False for what came late or twice: its reports must not be applied (again). */
  fresh: boolean
}

/** What is left of a window, the milliseconds until more is, and how long to wait where that was too little. */
export type Taken = { left: number; reset: number; wait: number | null }

/** How a window stands; `reset` are the milliseconds until its oldest bucket leaves, 0 where it is empty. */
export type WindowUse = {
  name: string
  period: Period
  limit: number
  used: number
  remaining: number
  reset: number
}

/** The windows of one tenant (or address) and what was lent of them. */
export class Grants {
  private readonly counters = new Map<string, Counter>()
  private readonly leases: Map<string, Lent>
  private readonly clock: SteadyClock
  private sweptAt = 0

  constructor(
    private readonly store: MeterStore | null,
    wall: number,
  ) {
    const saved = store?.read()
    this.clock = new SteadyClock(saved?.clock.ahead, saved?.clock.last)
    this.leases = new Map(saved?.leases)
    const now = this.clock.read(wall)
    for (const window of saved?.windows ?? [])
      this.counters.set(window.name, new Counter(window.name, window.period, window, now))
  }

  /** Takes the report, then lends. `wall` is the Meter's wall clock. */
  lease(request: LeaseRequest, wall: number): Decision {
    const { isolate, sequence, report } = request
    const before = this.leases.get(isolate)
    if (before && sequence <= before.sequence)
      return { sequence, life: 0, phase: 0, grants: [], fresh: false }
    const now = this.clock.read(wall, measured(before, report))
    if (before) this.settle(before, report, now)
    this.addUnleased(request.unleased, before, now)
    const { life, lease, grants } = this.lend(request, now)
    this.leases.set(isolate, lease)
    this.keep(now)
    return { sequence, life, phase: now % PERIODS.minute.bucket, grants, fresh: true }
  }

  /** Takes `count` of a window at once, or nothing; `wait`: milliseconds until they may be had, null where they are taken. */
  take(name: string, period: Period, limit: number, count: number, wall: number): Taken {
    const now = this.clock.read(wall)
    const demand = { name, period, limit, rate: 0, wanted: count }
    const { counter, steps, room } = this.open(demand, rivalsOf(this.leases, '', now), now)
    const reset = () => (counter.window.nextLeave(now) ?? now + PERIODS[period].length) - now
    if (room < count) {
      const at = steps.find((step) => step.room >= count)?.at ?? now + PERIODS[period].length
      return { left: Math.max(0, room), reset: reset(), wait: at - now }
    }
    counter.add(counter.window.bucketAt(now), count)
    this.keep(now)
    return { left: room - count, reset: reset(), wait: null }
  }

  /** How each window stands, for showing. */
  look(windows: readonly { name: string; period: Period; limit: number }[], wall: number): WindowUse[] {
    const now = this.clock.read(wall)
    return windows.map(({ name, period, limit }) => {
      const window = this.counters.get(name)?.window
      const used = Math.min(limit, window?.used(now) ?? 0)
      const leave = window?.nextLeave(now) ?? null
      return { name, period, limit, used, remaining: limit - used, reset: leave === null ? 0 : leave - now }
    })
  }

  /** Whether nothing is booked or lent any more. */
  isIdle(wall: number): boolean {
    const now = this.clock.read(wall)
    return [...this.counters.values()].every(({ window }) => window.used(now) === 0)
  }

  private lend(request: LeaseRequest, now: number) {
    const rivals = rivalsOf(this.leases, request.isolate, now)
    const open = request.demands.map((demand) => this.open(demand, rivals, now))
    const life = Math.min(MAX_LIFE_MS, ...open.map(({ room, rate, total }) => lifeFor(room, rate, total)))
    const lease: Lent = { sequence: request.sequence, at: now, end: now + life, windows: [] }
    const grants = open.map((window) => grantOf(window, lease, now))
    return { life, lease, grants }
  }

  private open(demand: Demand, rivals: Rivals, now: number): Open {
    const { name, period, limit } = demand
    let counter = this.counters.get(name)
    if (!counter) {
      counter = new Counter(name, period)
      this.counters.set(name, counter)
    }
    counter.limit = limit
    const rate = Math.max(demand.rate, LEAST_RATE)
    const others = rivals.get(name)
    const total = rate + (others?.rate ?? 0)
    const used = counter.window.used(now)
    const leaving = counter.window.leaving(now)
    const steps = roomOf(limit, used, leaving, others?.promised ?? [], now)
    return { demand, counter, rate, total, leaving, steps, room: steps[0]?.room ?? 0 }
  }

  /** Moves what was spent to when it was spent and gives back the rest, where the report is about that lease. */
  private settle(before: Lent, report: Report | null, now: number): void {
    // An asking whose answer was lost lent nothing that could be spent: its isolate reports the lease before it, or none.
    const known = report?.lease === before.sequence ? report : null
    const unanswered = !report || report.lease < before.sequence
    if (!known && !unanswered) return
    const spent = new Map(known?.spent.map((window) => [window.name, window.spells]))
    for (const { name, granted } of before.windows) {
      const counter = this.counters.get(name)
      if (!counter) continue
      const { window } = counter
      const end = window.bucketAt(before.end)
      let left = granted
      for (const { ms, count } of spent.get(name) ?? []) {
        const part = Math.min(left, count)
        left -= part
        counter.move(end, window.bucketAt(spentAt(before, report, ms, now, this.clock.unslowed)), part)
      }
      counter.release(end, left)
    }
  }

  private addUnleased(unleased: Unleased | null, before: Lent | undefined, now: number): void {
    if (!unleased || (before && unleased.sequence <= before.sequence)) return
    for (const { name, period, spells } of unleased.spent) {
      const counter = this.counters.get(name) ?? new Counter(name, period)
      this.counters.set(name, counter)
      for (const { ms, count } of spells) counter.add(counter.window.bucketAt(now - Math.max(0, ms)), count)
    }
  }

  /** Brings to disk what it would count too little, and what it counts too much where nothing is lent any more. */
  private keep(now: number): void {
    const gone = this.sweep(now)
    if (!this.store) return
    const lent = namesLent(this.leases, now)
    const windows: SavedWindow[] = []
    for (const counter of this.counters.values()) {
      const isLent = lent.has(counter.name)
      if (counter.isDue(isLent)) windows.push(counter.save(isLent))
    }
    if (windows.length === 0 && gone.length === 0 && !this.clock.jumped) return
    this.store.write({ windows, leases: [...this.leases], clock: this.clock.state() }, gone)
  }

  /** Forgets isolates that are gone and windows that are empty; returns the names of these. */
  private sweep(now: number): string[] {
    if (now - this.sweptAt < FORGET_MS / 2) return []
    this.sweptAt = now
    for (const [isolate, { end }] of this.leases) if (end + FORGET_MS < now) this.leases.delete(isolate)
    const gone: string[] = []
    for (const [name, { window }] of this.counters) if (window.used(now) === 0) gone.push(name)
    for (const name of gone) this.counters.delete(name)
    return gone
  }
}

/** A window as it stands when an isolate asks. */
type Open = {
  demand: Demand
  counter: Counter
  /** Requests a second, of this isolate and of all. */
  rate: number
  total: number
  leaving: Dated[]
  steps: Step[]
  room: number
}

/** What the isolate measured between its lease and now, to hold the Meter's clock against. */
function measured(before: Lent | undefined, report: Report | null): Measured | undefined {
  if (!before || report?.lease !== before.sequence || report.elapsed === null) return undefined
  return { at: before.at, elapsed: Math.max(0, report.elapsed) }
}

/** The latest time at which that can have been spent; `unslowed` of the Meter's time the isolate did not count. */
function spentAt(lease: Lent, report: Report | null, ms: number, now: number, unslowed: number): number {
  return !report || report.elapsed === null ? now : Math.min(now, lease.at + ms + unslowed)
}

/** Books the grant of one window at the lease's end and notes it there. */
function grantOf({ demand, counter, rate, total, leaving, steps }: Open, lease: Lent, now: number): Grant {
  const { name, period, limit, wanted } = demand
  const life = lease.end - now
  const { count, later } = sizeGrant({ limit, rate, total, wanted, steps, leaving, now, life })
  const granted = later.reduce((sum, part) => sum + part.count, count)
  counter.grant(counter.window.bucketAt(lease.end), granted)
  const promised = later.map((part) => ({ at: now + part.ms, count: part.count }))
  lease.windows.push({ name, granted, promised, rate })
  const after = takeFrom(steps, count, later, now)
  const { length } = PERIODS[period]
  const next = (after.find(({ room }) => room >= 1)?.at ?? now + length) - now
  const reset = leaving[0] ? leaving[0].at - now : length
  return { name, limit, count, later, left: Math.max(0, after[0]?.room ?? 0), next, reset }
}
