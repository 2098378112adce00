import * as z from 'zod'
import type { ChatRoom } from './domains/chat/room/object'
import type { JobRunner } from './domains/jobs/object'
import type { AddressMeter } from './domains/metering/meter/address-object'
import type { Meter } from './domains/metering/meter/object'
import type { MetricsShard } from './domains/operations/metrics/object'
import type { RealtimeChannel } from './domains/realtime/object'
import type { RealtimeTicket } from './domains/realtime/ticket-object'
import type { CallDriver } from './domains/voice/calls/object'
import type { EndpointSender } from './domains/webhooks/deliveries/object'
import type { DeliveryReporter } from './domains/webhooks/deliveries/reporter'
import type { Sweeper } from './domains/webhooks/deliveries/sweeper'
import { BillingSettings, refusalsOfBilling } from './lib/billing-settings'
import { CallSettings } from './lib/call-settings'
import { JwtIssuer, refusalsOfTrusted, TrustedIssuers, trustedIssuers } from './lib/issuer'
import { MailFrom, MailProvider, ResendUrl, refusalsOfMail } from './lib/mail-settings'
import { OauthProviders } from './lib/oauth-providers'
import { problem } from './lib/problem'
import { ProviderSettings, refusalsOfProviders } from './lib/provider-settings'
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
  JOBS: DurableObjectNamespace<JobRunner>
  CALLS: DurableObjectNamespace<CallDriver>
  REALTIME: DurableObjectNamespace<RealtimeChannel>
  REALTIME_TICKETS: DurableObjectNamespace<RealtimeTicket>
  REPORTERS: DurableObjectNamespace<DeliveryReporter>
  SWEEPER: DurableObjectNamespace<Sweeper>
  METERS: DurableObjectNamespace<Meter>
  ADDRESS_METERS: DurableObjectNamespace<AddressMeter>
  METRICS: DurableObjectNamespace<MetricsShard>
  /** Sends mail, where `MAIL_PROVIDER` says so (docs/identity.md). */
  EMAIL?: SendEmail
  /** Cloudflare's models, for agents of the kind `workers_ai`, where they are bound (docs/operations.md). */
  AI?: WorkersAi
  /** Vectors of items, for what is like them, where an index is bound (docs/recommendations.md). */
  VECTORIZE?: VectorIndex
  /** Vectors of what agents are to know, so that it is found by its meaning, where an index is bound (docs/knowledge.md). */
  VECTORIZE_KB?: VectorIndex
  /** Gets what is counted too, where it is bound (docs/operations.md). */
  ANALYTICS?: AnalyticsEngineDataset
}

/** What is used of the `AI` binding: it answers a stream of server-sent events where it was asked to. */
export type WorkersAi = { run(model: string, input: Record<string, unknown>): Promise<unknown> }

/** What is used of a Vectorize index. */
export type VectorIndex = Pick<Vectorize, 'query' | 'upsert' | 'deleteByIds' | 'getByIds'>

/**
 * A queue message is a nudge: it names what to look at in D1 and carries nothing else. `types` are those of the events,
 * where they are known: who looks at some only need not ask.
 */
export type EventNudge = { tenant_id: string; event_ids: string[]; types?: string[] }

const list = z
  .string()
  .default('')
  .transform((value) => value.split(',').flatMap((part) => part.trim() || []))

const flag = z
  .enum(['true', 'false', ''])
  .default('false')
  .transform((value) => value === 'true')

/** What signs, and what did or will, while the one takes the other's place. */
const twoOf = (form: RegExp, message: string) =>
  list.refine((all) => all.length <= 2 && all.every((one) => form.test(one)), `${message}, comma separated`)

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
    PRIVATE_TARGET_HOSTS: list.transform((hosts) => hosts.map((host) => host.toLowerCase())),
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
    /** Where interactions go besides (docs/analytics.md), and the bearer token that goes along. */
    DATA_PIPELINE_URL: z.union([z.literal(''), z.url({ protocol: /^https?$/ })]).default(''),
    DATA_PIPELINE_TOKEN: z
      .string()
      .regex(/^[\x21-\x7e]*$/, 'must be visible ASCII')
      .default(''),
    R2_S3_ENDPOINT: z.union([z.literal(''), z.url({ protocol: /^https?$/ })]).default(''),
    R2_S3_BUCKET: z.string().default(''),
    R2_S3_ACCESS_KEY_ID: z.string().default(''),
    R2_S3_SECRET_ACCESS_KEY: z.string().default(''),
    /** What makes text of recordings (docs/interactions.md); empty: nothing does. */
    TRANSCRIBER: z.enum(['', 'openai', 'workers_ai', 'simulated']).default(''),
    TRANSCRIBER_URL: z.union([z.literal(''), z.url({ protocol: /^https?$/ })]).default(''),
    TRANSCRIBER_KEY: z.string().default(''),
    TRANSCRIBER_MODEL: z.string().max(128).default(''),
    ...ProviderSettings,
    ...BillingSettings,
    ...CallSettings,
    /** Who recommends besides the embedded engine (docs/recommendations.md), and the bearer token that goes along. */
    ML_ENGINE_URL: z
      .union([z.literal(''), z.url({ protocol: /^https?$/ })])
      .default('')
      .transform((url) => url.replace(/\/+$/, '')),
    ML_ENGINE_TOKEN: z
      .string()
      .regex(/^[\x21-\x7e]*$/, 'must be visible ASCII')
      .default(''),
    /** The model of Workers AI whose vectors go into the indexes that are bound as VECTORIZE and VECTORIZE_KB. */
    EMBEDDING_MODEL: z
      .string()
      .max(128)
      .default('')
      .transform((model) => model || '@cf/baai/bge-m3'),
    CALLBACK_SILENCE_MINUTES: z
      .string()
      .regex(/^(?:[1-9]\d{0,3})?$/, 'must be a whole number of minutes from 1 to 9999')
      .default('')
      .transform((minutes) => Number(minutes || '15')),
    VAPID_PRIVATE_KEY: z
      .string()
      .regex(/^(?:[\w-]{43})?$/, 'must be the 32 bytes of a P-256 key in base64url')
      .default(''),
    VAPID_SUBJECT: z
      .string()
      .regex(/^(?:mailto:\S+@\S+|https:\/\/\S+)?$/, 'must be mailto: and an address, or an https URL')
      .default(''),
    STRIPE_WEBHOOK_SECRET: twoOf(
      /^whsec_[\x21-\x7e]{8,}$/,
      'must be one or two secrets that begin with whsec_',
    ),
    TELNYX_PUBLIC_KEY: twoOf(/^[A-Za-z0-9+/]{43}=$/, 'must be one or two Ed25519 public keys in base64'),
    ULTRAVOX_WEBHOOK_SECRET: twoOf(
      /^[\x21-\x7e]{8,}$/,
      'must be one or two secrets of at least 8 characters',
    ),
  })
  .superRefine((settings, issue) => {
    const refusals = [
      ...refusalsOfTrusted(settings),
      ...refusalsOfMail(settings),
      ...refusalsOfProviders(settings),
      ...refusalsOfBilling(settings),
    ]
    for (const refusal of refusals) issue.addIssue({ code: 'custom', ...refusal })
    if (settings.DATA_PIPELINE_TOKEN !== '' && settings.DATA_PIPELINE_URL === '')
      issue.addIssue({ code: 'custom', path: ['DATA_PIPELINE_URL'], message: 'must be set with its token' })
    if (settings.ML_ENGINE_TOKEN !== '' && settings.ML_ENGINE_URL === '')
      issue.addIssue({ code: 'custom', path: ['ML_ENGINE_URL'], message: 'must be set with its token' })
    if (settings.TRANSCRIBER === 'openai' && settings.TRANSCRIBER_URL === '')
      issue.addIssue({
        code: 'custom',
        path: ['TRANSCRIBER_URL'],
        message: 'must be set for TRANSCRIBER=openai',
      })
    const s3 = ['R2_S3_ENDPOINT', 'R2_S3_BUCKET', 'R2_S3_ACCESS_KEY_ID', 'R2_S3_SECRET_ACCESS_KEY'] as const
    for (const name of s3)
      if (settings[name] === '' && s3.some((other) => settings[other] !== ''))
        issue.addIssue({ code: 'custom', path: [name], message: 'must be set with the other R2_S3 settings' })
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
    if (settings.TRANSCRIBER === 'workers_ai' && !env.AI)
      throw problem('misconfigured', 'The service is misconfigured', {
        cause: 'TRANSCRIBER: workers_ai needs Workers AI, bound as AI in wrangler.toml',
      })
    parsed.set(env, settings)
  }
  return settings
}
