import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { Provider } from '../../../lib/provider-fetch'
import { neededProvider, providerOf } from '../../providers/choose'
import { operatorsProvider } from '../../providers/kinds'
import type { VoiceRow } from './table'

type Place = Pick<VoiceRow, 'provider' | 'own'>

const kindOf = (provider: VoiceRow['provider']) => (provider === 'ultravox' ? 'ultravox' : 'tts')

/** The account that new voices of a provider are of. 409 without one, 422 where the `tts` account is with another. */
export async function accountFor(ctx: Context, provider: VoiceRow['provider']): Promise<Provider> {
  const account = await neededProvider(ctx, kindOf(provider))
  if (account.name === provider) return account
  throw problem.invalid({ provider: `must be ${account.name}, which is your tts provider, or ultravox` })
}

/** The account that makes clones. 409 without one. */
export const cloningAccount = (ctx: Context): Promise<Provider> => neededProvider(ctx, 'tts')

/** The account that a voice is of: another one does not have it. 409 where it is not set up any more. */
export async function accountOf(ctx: Context, { provider, own }: Place): Promise<Provider> {
  const kind = kindOf(provider)
  const account = own ? await providerOf(ctx, kind) : operatorsProvider(ctx.settings, kind)
  if (account?.own === own && account.name === provider) return account
  const whose = own ? 'your own' : 'the operator’s'
  throw problem(
    'provider_not_configured',
    `The voice is of ${whose} ${provider} account, which is not set up any more`,
    {
      details: { kind, provider },
    },
  )
}
