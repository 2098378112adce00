import type { Change } from './commit'
import type { Context } from './context'

// What a user or a team leaves behind is known best by those who keep it, and who removes them does not know them: each
// says here what goes along.

/**
 * Who leaves: a user of that role the tenant, a team altogether, or a user (`id`) one team. A user of whom only the rights
 * change (`rights`) leaves nothing behind, but may be connected somewhere still.
 */
export type Departed =
  | { kind: 'user' | 'rights'; id: string; role: string }
  | { kind: 'team'; id: string }
  | { kind: 'member'; id: string; team_id: string }

/** What goes along: in the batch of the removal itself, and once that stands. */
type Along = { statements?: Change<unknown>['statements']; afterwards?: () => Promise<unknown> }

type Keeper = (ctx: Context, departed: Departed) => Along | Promise<Along>

const keepers: Keeper[] = []

/** Has `keeper` asked, before anyone leaves, what goes along. */
export function onDeparture(keeper: Keeper): void {
  keepers.push(keeper)
}

/** What goes along with who leaves: statements for the batch of `commit`, and what is to be deferred after it. */
export async function departing(ctx: Context, departed: Departed): Promise<Required<Along>> {
  const all = await Promise.all(keepers.map((keeper) => keeper(ctx, departed)))
  return {
    statements: all.flatMap(({ statements }) => statements ?? []),
    afterwards: () => Promise.all(all.map(({ afterwards }) => afterwards?.())),
  }
}
