// What it may cost to hold events against their schemas: whoever looks at something pays for it, so the bound holds
// whatever the schema and the data are, and however often references are followed.

/** Looks for all events of one request, and for one of them. */
const MOST_LOOKS = 8_000_000
const MOST_LOOKS_EACH = 1_000_000

/** More than may be looked at. */
export class TooMuch extends Error {}

/** What is left of what one request may cost. */
export class Budget {
  private all = MOST_LOOKS
  private left = 0

  /** The next event, or the same once more with fewer looks. */
  next(most = MOST_LOOKS_EACH): void {
    this.left = Math.min(most, this.all)
  }

  spend(looks: number): void {
    this.left -= looks
    this.all -= looks
    if (!(this.left >= 0)) throw new TooMuch()
  }

  /** How many looks the event has cost, of those that it may. */
  spentOf(most = MOST_LOOKS_EACH): number {
    return most - this.left
  }
}

/** The same data, of which each look costs one. */
export function metered(data: unknown, budget: Budget): unknown {
  if (typeof data !== 'object' || data === null) return data
  return new Proxy(data, {
    get(target, name) {
      budget.spend(1)
      return metered(Reflect.get(target, name), budget)
    },
    ownKeys(target) {
      const keys = Reflect.ownKeys(target)
      budget.spend(keys.length)
      return keys
    },
  })
}

/** How long the longest text and name in data are, and how many names and items one object and one list have at the most. */
export type Extent = { text: number; name: number; names: number; items: number }

export function extentOf(data: unknown): Extent {
  const open = [data]
  const most: Extent = { text: 0, name: 0, names: 0, items: 0 }
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value === 'string') most.text = Math.max(most.text, value.length)
    if (typeof value !== 'object' || value === null) continue
    if (Array.isArray(value)) most.items = Math.max(most.items, value.length)
    else {
      const names = Object.keys(value)
      most.names = Math.max(most.names, names.length)
      for (const { length } of names) most.name = Math.max(most.name, length)
    }
    for (const inner of Object.values(value)) open.push(inner)
  }
  return most
}
