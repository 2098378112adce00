import type { Lent } from './lease'
import type { Dated } from './window'

// What isolates hold, by window. It is looked through once for each asking: a tenant with thousands of keys that have
// limits of their own has thousands of windows.

type Leases = ReadonlyMap<string, Lent>

/** What others hold of each window: the parts that open later, and the requests a second of those who still ask. */
export type Rivals = ReadonlyMap<string, Rival>
type Rival = { promised: readonly Dated[]; rate: number }

/** An isolate whose lease is over for so long does not compete for the window any more. */
const COMPETES_MS = 4_000

/** What all but that isolate hold. */
export function rivalsOf(leases: Leases, isolate: string, now: number): Rivals {
  const rivals = new Map<string, Rival>()
  for (const [other, { end, windows }] of leases) {
    if (other === isolate) continue
    const competes = end + COMPETES_MS > now
    for (const { name, promised, rate } of windows) {
      const held = rivals.get(name)
      const competing = competes ? rate : 0
      if (!held) rivals.set(name, { promised, rate: competing })
      else {
        if (promised.length > 0) held.promised = [...held.promised, ...promised]
        held.rate += competing
      }
    }
  }
  return rivals
}

/** The windows of which some is lent now. */
export function namesLent(leases: Leases, now: number): Set<string> {
  const names = new Set<string>()
  for (const { end, windows } of leases.values())
    if (end > now) for (const { name, granted } of windows) if (granted > 0) names.add(name)
  return names
}
