import { type Problem, problem } from '../../../../lib/problem'
import type { Provider, ProviderAnswer } from '../../../../lib/provider-fetch'
import type { Spoken } from './speech'

/** The sound that an answer is; `provider_failed` where it is none. */
export function spoken({ name }: Provider, { status, headers, bytes }: ProviderAnswer): Spoken {
  const type = (headers.get('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (bytes.byteLength > 0 && /^audio\/[\w.+-]+$/.test(type)) return { bytes, type }
  throw problem('provider_failed', `The provider ${name} answered ${status} with what is no sound`, {
    details: { provider: name, status, said: null },
  })
}

/** An answer that was looked at, and is a refusal after all. */
export const refused = ({ name }: Provider, { status }: ProviderAnswer): Problem =>
  problem('provider_refused', `The provider ${name} answered ${status}`, {
    details: { provider: name, status, said: null },
  })
