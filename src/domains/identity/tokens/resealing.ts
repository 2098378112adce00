import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type Resealed, resealAll } from '../../../data/sealed'
import { type Bindings, settingsOf } from '../../../env'
import { log } from '../../../lib/log'
import { keepSealKeys } from '../../audit/keys'
import { keepTagSecrets, refuseTwin } from '../api-keys/genuine'

/**
 * Makes everything at rest independent of the master keys before the one in force, and counts what that took. 409 for one
 * that can't take their place.
 */
export async function leaveOldMasterKeys(env: Bindings, now: number): Promise<Resealed> {
  const settings = settingsOf(env)
  await refuseTwin(env, settings)
  await keepTagSecrets(env, settings, now)
  await keepSealKeys(env, settings, now)
  return resealAll(env, settings)
}

/** The same, asked for by a platform administrator. */
export async function resealSecrets(ctx: Context): Promise<Resealed> {
  const done = await leaveOldMasterKeys(ctx.env, ctx.now)
  const audit = {
    action: 'master_key.reseal',
    resource: 'master_key',
    resource_id: 'current',
    after: { ...done },
  }
  return commit(ctx, { statements: [], result: done, audit })
}

/** The same, by itself, for as long as the settings name a master key from before. */
export async function resealByItself(env: Bindings, now: number): Promise<void> {
  if (settingsOf(env).MASTER_KEY_PREVIOUS.length === 0) return
  log.info('resealed', await leaveOldMasterKeys(env, now))
}
