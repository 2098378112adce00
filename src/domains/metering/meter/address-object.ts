import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../../env'
import { Addresses } from './addresses'
import type { LeaseAnswer, LeaseRequest } from './lease'

/**
 * One of the 64 Meters that addresses share by hash: a flood of addresses must not become a flood of objects. It keeps
 * everything in memory; what a restart forgives is a minute's worth.
 */
export class AddressMeter extends DurableObject<Bindings> {
  private readonly addresses = new Addresses()

  /** Lends requests of the windows of one address. */
  async lease(address: string, request: LeaseRequest): Promise<LeaseAnswer> {
    const { fresh: _, ...decision } = this.addresses.lease(address, request, Date.now())
    return { ...decision, revision: request.revision, changes: [], more: false }
  }
}
