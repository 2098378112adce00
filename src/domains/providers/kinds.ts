import type { Settings } from '../../env'
import type { Provider } from '../../lib/provider-fetch'
import { PROVIDER_URLS } from '../../lib/provider-settings'

/** What outside services are for. */
export const PROVIDER_KINDS = ['tts', 'ultravox', 'telnyx', 'stripe', 'transcriber'] as const
export type ProviderKind = (typeof PROVIDER_KINDS)[number]

type Kind = {
  /** Who a tenant's own account may be with. */
  provider: keyof typeof PROVIDER_URLS
  /** What a tenant may say besides, each a text. */
  options: readonly string[]
  /** The operator's account; null without one. */
  operators: (settings: Settings) => Omit<Provider, 'own'> | null
}

export const KINDS: Record<ProviderKind, Kind> = {
  tts: {
    provider: 'elevenlabs',
    options: ['model'],
    operators: ({ TTS_PROVIDER: name, TTS_API_KEY, TTS_BASE_URL, TTS_MODEL }) =>
      name === '' ? null : account(name, TTS_API_KEY, TTS_BASE_URL, { model: TTS_MODEL }),
  },
  ultravox: {
    provider: 'ultravox',
    options: ['model'],
    operators: ({ ULTRAVOX_API_KEY, ULTRAVOX_BASE_URL }) =>
      ULTRAVOX_API_KEY === '' ? null : account('ultravox', ULTRAVOX_API_KEY, ULTRAVOX_BASE_URL),
  },
  telnyx: {
    provider: 'telnyx',
    options: ['connection_id'],
    operators: ({ TELNYX_API_KEY, TELNYX_BASE_URL, TELNYX_CONNECTION_ID }) =>
      TELNYX_API_KEY === ''
        ? null
        : account('telnyx', TELNYX_API_KEY, TELNYX_BASE_URL, { connection_id: TELNYX_CONNECTION_ID }),
  },
  stripe: {
    provider: 'stripe',
    options: [],
    operators: ({ STRIPE_SECRET_KEY, STRIPE_BASE_URL }) =>
      STRIPE_SECRET_KEY === '' ? null : account('stripe', STRIPE_SECRET_KEY, STRIPE_BASE_URL),
  },
  transcriber: {
    provider: 'openai',
    options: ['model'],
    operators: ({ TRANSCRIBER: name, TRANSCRIBER_KEY, TRANSCRIBER_URL, TRANSCRIBER_MODEL }) =>
      name === '' ? null : account(name, TRANSCRIBER_KEY, TRANSCRIBER_URL, { model: TRANSCRIBER_MODEL }),
  },
}

function account(name: string, api_key: string, base_url: string, given: Record<string, string> = {}) {
  const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''))
  return { name, api_key, base_url, options }
}

/** Where a tenant's own account is, unless it says so itself. */
export const urlOf = (kind: ProviderKind): string => PROVIDER_URLS[KINDS[kind].provider]

/** The secret that keeps the key of a tenant's own account. */
export const secretOf = (kind: ProviderKind): string => `provider_${kind}`

/** The operator's account; null without one. */
export function operatorsProvider(settings: Settings, kind: ProviderKind): Provider | null {
  const found = KINDS[kind].operators(settings)
  return found && { ...found, own: false }
}
