import type { Provider } from '../../../../lib/provider-fetch'
import type { Asking } from '../../answer'
import { elevenlabs } from './elevenlabs'
import { simulated } from './simulated'
import type { Speech } from './speech'
import { ultravox } from './ultravox'

/** The provider that an account is with. */
export function speechOf(ctx: Asking['ctx'], account: Provider): Speech {
  const at = { ctx, account }
  switch (account.name) {
    case 'simulated':
      return simulated
    case 'ultravox':
      return ultravox(at)
    default:
      return elevenlabs(at)
  }
}
