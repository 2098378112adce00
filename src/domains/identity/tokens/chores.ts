import { type Bindings, settingsOf } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { forgetKeys, keyRing } from './keys'
import { resealByItself } from './resealing'
import { dropOldSigningKeys } from './rotation'

/** What keys need now and then: the next one where it is due, the oldest gone, and no secret under an old master key. */
export async function tendKeys(env: Bindings, now: number): Promise<void> {
  const chores = {
    rotate: async () => {
      forgetKeys(env)
      await keyRing({ env, settings: settingsOf(env), now })
    },
    drop: () => dropOldSigningKeys(env, now),
    reseal: () => resealByItself(env, now),
  }
  for (const [chore, run] of Object.entries(chores))
    await run().catch((error: unknown) =>
      log.error('key_chore_failed', { chore, cause: describeError(error) }),
    )
}
