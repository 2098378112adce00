import * as z from 'zod'

// The operator's own accounts with outside services; a tenant's own go before them (docs/voice.md, "Providers").

const Key = z
  .string()
  .regex(/^[\x21-\x7e]*$/, 'must be visible ASCII')
  .default('')

const BaseUrl = (at: string) =>
  z
    .union([z.literal(''), z.url({ protocol: /^https?$/ })])
    .default('')
    .transform((url) => (url || at).replace(/\/+$/, ''))

/** Where the providers' own APIs are. */
export const PROVIDER_URLS = {
  elevenlabs: 'https://api.elevenlabs.io',
  ultravox: 'https://api.ultravox.ai',
  telnyx: 'https://api.telnyx.com',
  stripe: 'https://api.stripe.com',
  openai: 'https://api.openai.com',
} as const

export const ProviderSettings = {
  /** What makes speech; empty: nothing does, but for tenants with an account of their own. */
  TTS_PROVIDER: z.enum(['', 'elevenlabs', 'simulated']).default(''),
  TTS_API_KEY: Key,
  TTS_BASE_URL: BaseUrl(PROVIDER_URLS.elevenlabs),
  TTS_MODEL: z.string().max(128).default(''),
  ULTRAVOX_API_KEY: Key,
  ULTRAVOX_BASE_URL: BaseUrl(PROVIDER_URLS.ultravox),
  TELNYX_API_KEY: Key,
  TELNYX_BASE_URL: BaseUrl(PROVIDER_URLS.telnyx),
  /** The Call Control application through which calls are placed. */
  TELNYX_CONNECTION_ID: z.string().max(128).default(''),
  STRIPE_SECRET_KEY: Key,
  STRIPE_BASE_URL: BaseUrl(PROVIDER_URLS.stripe),
} as const

type Chosen = { TTS_PROVIDER: string; TTS_API_KEY: string }

/** What a chosen provider needs and lacks, by setting. */
export function refusalsOfProviders({ TTS_PROVIDER, TTS_API_KEY }: Chosen) {
  return TTS_PROVIDER === 'elevenlabs' && TTS_API_KEY === ''
    ? [{ path: ['TTS_API_KEY'], message: 'is needed by TTS_PROVIDER=elevenlabs' }]
    : []
}
