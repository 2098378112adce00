import { networkOf } from '../../../lib/ip-address'

/** How many Meters the addresses share (limits.md). */
export const ADDRESS_SHARDS = 64

/** What a client's address counts as: itself, or the /64 of an IPv6 address. Unknown addresses count as one. */
export const countedAddress = (address: string | null): string => networkOf(address ?? '') ?? 'unknown'

/** The name of the Meter that counts for an address (FNV-1a). */
export function shardOf(counted: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < counted.length; i++) hash = Math.imul(hash ^ counted.charCodeAt(i), 0x01000193)
  return `addresses-${(hash >>> 0) % ADDRESS_SHARDS}`
}
