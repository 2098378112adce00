import { type Decision, Grants } from './grants'
import type { LeaseRequest } from './lease'

/** About 1 kB each. */
const MOST = 20_000
const SWEEP_MS = 30_000

/** The windows of many addresses, in memory only; who is idle is forgotten, and at worst who was seen least lately. */
export class Addresses {
  private readonly grants = new Map<string, Grants>()
  private sweptAt = Number.NEGATIVE_INFINITY

  constructor(private readonly most = MOST) {}

  get size(): number {
    return this.grants.size
  }

  lease(address: string, request: LeaseRequest, wall: number): Decision {
    if (wall - this.sweptAt > SWEEP_MS || wall < this.sweptAt) this.sweep(wall)
    const grants = this.grants.get(address) ?? new Grants(null, wall)
    // Set anew, so that the Map is in the order of last use.
    this.grants.delete(address)
    this.grants.set(address, grants)
    if (this.grants.size > this.most) {
      const [oldest] = this.grants.keys()
      if (oldest !== undefined) this.grants.delete(oldest)
    }
    return grants.lease(request, wall)
  }

  private sweep(wall: number): void {
    this.sweptAt = wall
    for (const [address, grants] of this.grants) if (grants.isIdle(wall)) this.grants.delete(address)
  }
}
