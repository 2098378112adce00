import type { Context } from '../../data/context'

// Who goes by what it knows of a tool for a while learns here that it has changed; tools know none of them.

/** Finds whom a tool concerns, before it is changed; what it answers tells them, once it was. */
type Teller = (ctx: Context, toolId: string) => Promise<() => Promise<unknown>>

const tellers: Teller[] = []

export function onToolChange(teller: Teller): void {
  tellers.push(teller)
}

/** What tells everybody whom a tool concerns. */
export async function tellingOf(ctx: Context, toolId: string): Promise<() => Promise<void>> {
  const all = await Promise.all(tellers.map((teller) => teller(ctx, toolId)))
  return async () => {
    await Promise.all(all.map((tell) => tell()))
  }
}
