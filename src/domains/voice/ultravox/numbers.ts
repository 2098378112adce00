import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { Remembered } from '../../../lib/remembered'
import { activeNumbers } from '../telnyx/client'
import { type Accounts, accountsOf } from './accounts'

/** A number that an account has, it has for a while. */
const numbers = new Remembered<string[]>(60_000, 300_000, 1_000)

/**
 * The number that calls. With a Telnyx account of its own a tenant calls by any of that account’s active numbers, and need
 * not name the only one; with the operator’s account, by the operator’s CALL_FROM. 422 naming `from`.
 */
export async function callerNumber(ctx: Context, from: string | undefined): Promise<string> {
  const { telnyx } = await accountsOf(ctx)
  if (telnyx.account.own) return ownNumber(ctx, telnyx, from)
  const { CALL_FROM } = ctx.settings
  if (CALL_FROM === '')
    throw problem('provider_not_configured', 'The operator has no number that calls: CALL_FROM is not set', {
      details: { kind: 'telnyx', setting: 'CALL_FROM' },
    })
  if (from === undefined || from === CALL_FROM) return CALL_FROM
  throw problem.invalid({
    from: `must be ${CALL_FROM}, the operator’s number, or left out; set up a Telnyx account of your own to call by others`,
  })
}

async function ownNumber(ctx: Context, telnyx: Accounts['telnyx'], from?: string): Promise<string> {
  const { base_url } = telnyx.account
  const key = [ctx.tenant.id, base_url, from ?? ''].join(' ')
  const known = await numbers.get(key, ctx.now, () => activeNumbers(telnyx, from?.replace(/\D/g, '')))
  if (from !== undefined && known.includes(from)) return from
  // Whoever bought a number just now need not wait for it.
  if (from !== undefined || known.length !== 1) numbers.forget(key)
  if (from !== undefined)
    throw problem.invalid({ from: 'must be an active number of your Telnyx account, in E.164' })
  const [only, ...others] = known
  if (only !== undefined && others.length === 0) return only
  throw problem.invalid({
    from:
      only === undefined
        ? 'must be given: your Telnyx account has no active number yet; buy one there'
        : 'must be given: your Telnyx account has several numbers',
  })
}
