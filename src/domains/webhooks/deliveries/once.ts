import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'

/** Was it so already, when the guard looked: then there is nothing to announce. */
export const SO_ALREADY = problem('conflict', 'It was so already')

/** Commits `change`; where its guard finds that it stands already, only what is in `otherwise`. */
export async function once(
  ctx: Context,
  change: Change<undefined>,
  otherwise: Change<undefined>,
): Promise<void> {
  try {
    await commit(ctx, change)
  } catch (error) {
    if (error !== SO_ALREADY) throw error
    await commit(ctx, otherwise)
  }
}
