import * as z from 'zod'
import type { ChatRoom } from './domains/chat/room/object'
import type { AddressMeter } from './domains/metering/meter/address-object'
import type { Meter } from './domains/metering/meter/object'
import type { MetricsShard } from './domains/operations/metrics/object'
import type { EndpointSender } from './domains/webhooks/deliveries/object'
import type { Sweeper } from './domains/webhooks/deliveries/sweeper'
import { JwtIssuer, refusalsOfTrusted, TrustedIssuers, trustedIssuers } from './lib/issuer'
import { MailFrom, MailProvider, ResendUrl, refusalsOfMail } from './lib/mail-settings'
import { OauthProviders } from './lib/oauth-providers'
import { problem } from './lib/problem'
import { JURISDICTIONS } from './lib/regions'

/** What wrangler.toml binds; settings are strings until `settingsOf` has parsed them. */
export interface Bindings {
  DB: D1Database
  KV: KVNamespace
  FILES: R2Bucket
  ASSETS: Fetcher
  EVENTS_QUEUE: Queue<EventNudge>
  CHATS: DurableObjectNamespace<ChatRoom>
  ENDPOINTS: DurableObjectNamespace<EndpointSender>
  SWEEPER: DurableObjectNamespace<Sweeper>
  METERS: DurableObjectNamespace<Meter>
  ADDRESS_METERS: DurableObjectNamespace<AddressMeter>
  METRICS: DurableObjectNamespace<MetricsShard>
  /** Sends mail, where `MAIL_PROVIDER` says so (docs/identity.md). */
  EMAIL?: SendEmail
  /** Gets what is counted too, where it is bound (docs/operations.md). */
  ANALYTICS?: AnalyticsEngineDataset
}

/** A queue message is a nudge: it names what to look at in D1 and carries nothing else. */
export type EventNudge = { tenant_id: string; event_id: string }

const list = z
  .string()
  .default('')
  .transform((value) => value.split(',').flatMap((part) => part.trim() || []))

const flag = z
  .enum(['true', 'false', ''])
  .default('false')
  .transform((value) => value === 'true')

/** Prefix of every secret that `npm run dev` makes or that .dev.vars.example shows. */
const DEVELOPMENT_SECRET = /^(dev|change)[-_]/i

const Settings = z
  .object({
    ENVIRONMENT: z.enum(['development', 'staging', 'production']),
    PUBLIC_URL: z.url({ protocol: /^https?$/ }).transform((value) => value.replace(/\/$/, '')),
    MASTER_KEY: z
      .string()
      .min(32)
      .regex(/^[^,]*$/, 'must have no comma in it'),
    MASTER_KEY_PREVIOUS: list.refine(
      (keys) => keys.every((key) => key.length >= 32),
      'must be keys of at least 32 characters, comma separated',
    ),
    SIGNING_KEY_DAYS: z
      .string()
      .regex(/^(?:[1-9]\d{0,2})?$/, 'must be a whole number of days from 1 to 999')
      .default('')
      .transform((days) => Number(days || '30')),
    ALLOWED_ORIGINS: list,
    ALLOWED_HOSTS: list,
    ALLOW_PRIVATE_TARGETS: flag,
    PRIVATE_TARGET_HOSTS: list,
    DOH_URL: z.union([z.literal(''), z.url({ protocol: /^https?$/ })]).default(''),
    /** Those two alone are one trusted issuer. */
    JWT_ISSUER: JwtIssuer,
    JWT_AUDIENCE: z.string().max(512).default(''),
    TRUSTED_ISSUERS: TrustedIssuers,
    LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
    METRICS_TOKEN: z.union([z.literal(''), z.string().min(16)]).default(''),
    DOCS_ENABLED: z.enum(['true', 'false', '']).default(''),
    OAUTH_PROVIDERS: OauthProviders,
    PASSKEY_RP_ID: z.union([z.literal(''), z.hostname().toLowerCase()]).default(''),
    /** Where the bound database and bucket were made: tenants may choose that jurisdiction as their region. */
    DATA_JURISDICTION: z.enum(['', ...JURISDICTIONS]).default(''),
    SINGLE_TENANT_ID: z.union([z.literal(''), z.uuid().toLowerCase()]).default(''),
    MAIL_PROVIDER: MailProvider,
    MAIL_FROM: MailFrom,
    RESEND_API_KEY: z.string().default(''),
    RESEND_URL: ResendUrl,
  })
  .superRefine((settings, issue) => {
    for (const refusal of [...refusalsOfTrusted(settings), ...refusalsOfMail(settings)])
      issue.addIssue({ code: 'custom', ...refusal })
    if (settings.ENVIRONMENT !== 'production') return
    for (const name of ['MASTER_KEY', 'METRICS_TOKEN'] as const)
      if (DEVELOPMENT_SECRET.test(settings[name]))
        issue.addIssue({ code: 'custom', path: [name], message: 'is a development secret' })
    if (settings.ALLOW_PRIVATE_TARGETS)
      issue.addIssue({ code: 'custom', path: ['ALLOW_PRIVATE_TARGETS'], message: 'is for development only' })
    if (!settings.PUBLIC_URL.startsWith('https:'))
      issue.addIssue({ code: 'custom', path: ['PUBLIC_URL'], message: 'must be https' })
  })
  .transform((settings) => ({
    ...settings,
    docs:
      settings.DOCS_ENABLED === '' ? settings.ENVIRONMENT !== 'production' : settings.DOCS_ENABLED === 'true',
    /** Development shows what production hides, such as the mail box. */
    development: settings.ENVIRONMENT === 'development',
    /** Whose tokens count besides the service's own, in whatever tenant they name. */
    trusted_issuers: trustedIssuers(settings),
  }))

export type Settings = z.output<typeof Settings>

const parsed = new WeakMap<object, Settings>()

/** The validated settings; throws 500 `misconfigured` whose cause (for the log) names what is wrong, never a value. */
export function settingsOf(env: Bindings): Settings {
  let settings = parsed.get(env)
  if (!settings) {
    const result = Settings.safeParse(env)
    if (!result.success) {
      const names = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
      throw problem('misconfigured', 'The service is misconfigured', { cause: names.join('; ') })
    }
    settings = result.data
    if (settings.MAIL_PROVIDER === 'send_email' && !env.EMAIL)
      throw problem('misconfigured', 'The service is misconfigured', {
        cause: 'MAIL_PROVIDER: send_email needs a binding of that kind, named EMAIL, in wrangler.toml',
      })
    parsed.set(env, settings)
  }
  return settings
}
