import { env } from 'cloudflare:workers'
import { forgetKeys, keyRing } from '../../src/domains/identity/tokens/keys'
import type { Bindings } from '../../src/env'
import { call, requestContext } from '../world'

// The signing keys are everybody's and all files share them: who rotates begins and ends with this.

/** No key waits for its time, the newest is not on its way out, and the isolate holds them so. */
export async function settleKeys(): Promise<void> {
  const now = new Date().toISOString()
  await env.DB.batch([
    env.DB.prepare('delete from signing_keys where signs_from > ?').bind(now),
    env.DB.prepare(
      'update signing_keys set published_until = null where signs_from = (select max(signs_from) from signing_keys)',
    ),
  ])
  await lookAgain()
}

/** Makes the isolate read the keys anew, and make one where there is none; fails where it goes on with what it held. */
export async function lookAgain(): Promise<void> {
  forgetKeys(env as unknown as Bindings)
  await keyRing(requestContext())
  const { results } = await env.DB.prepare(
    'select kid from signing_keys where published_until is null or published_until > ?',
  )
    .bind(new Date().toISOString())
    .all<{ kid: string }>()
  const answer = await call('GET', '/.well-known/jwks.json')
  const { keys } = await answer.json<{ keys: { kid: string }[] }>()
  const [stored, held] = [results, keys].map((some) => some.map(({ kid }) => kid).sort())
  if (JSON.stringify(stored) !== JSON.stringify(held))
    throw new Error(`the isolate holds the keys ${held}, and stored are ${stored}`)
}
