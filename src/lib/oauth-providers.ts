import * as z from 'zod'

// The setting OAUTH_PROVIDERS: a JSON object of the providers that people may log in with, by the name in the path.

/** Plain http is for a provider on this very machine, as in tests. */
const Address = z
  .url({ protocol: /^https?$/ })
  .refine((url) => /^(?:https:\/\/|http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])[:/])/.test(`${url}/`), {
    message: 'must be https',
  })

const Base = Address.transform((url) => url.replace(/\/+$/, ''))

const client = {
  client_id: z.string().min(1),
  client_secret: z.string().min(1),
}

const KINDS = {
  /** OpenID Connect Discovery 1.0; the issuer exactly as its tokens name it. */
  oidc: z.strictObject({ kind: z.literal('oidc'), ...client, issuer: Address }),
  google: z.strictObject({
    kind: z.literal('google'),
    ...client,
    issuer: Address.default('https://accounts.google.com'),
  }),
  /** `tenant`: common, organizations, consumers, or the id of one directory. */
  microsoft: z.strictObject({
    kind: z.literal('microsoft'),
    ...client,
    base_url: Base.default('https://login.microsoftonline.com'),
    tenant: z
      .string()
      .regex(/^[\w.-]+$/)
      .toLowerCase()
      .default('common'),
  }),
  github: z.strictObject({
    kind: z.literal('github'),
    ...client,
    base_url: Base.default('https://github.com'),
    api_url: Base.default('https://api.github.com'),
  }),
}

const Provider = z.discriminatedUnion('kind', [KINDS.oidc, KINDS.google, KINDS.microsoft, KINDS.github])

export type ProviderSettings = z.output<typeof Provider>
export type OidcSettings = Exclude<ProviderSettings, { kind: 'github' }>
export type GithubSettings = Extract<ProviderSettings, { kind: 'github' }>

/** A provider's name as it stands in paths. */
export const ProviderName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be the name of a provider')

/** A provider of a well-known name is of that kind, any other speaks OpenID Connect, unless it says so itself. */
function withKind([name, provider]: [string, unknown]): [string, unknown] {
  if (typeof provider !== 'object' || provider === null || 'kind' in provider) return [name, provider]
  return [name, { kind: name in KINDS ? name : 'oidc', ...provider }]
}

export const OauthProviders = z
  .string()
  .default('')
  .transform((text, issue): unknown => {
    if (text.trim() === '') return {}
    try {
      const parsed: unknown = JSON.parse(text)
      if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return parsed
      return Object.fromEntries(Object.entries(parsed).map(withKind))
    } catch {
      issue.addIssue({ code: 'custom', message: 'must be a JSON object' })
      return z.NEVER
    }
  })
  .pipe(z.record(ProviderName, Provider))
