import * as z from 'zod'

// What is said of an OIDC issuer, by the operator (TRUSTED_ISSUERS) and by a tenant (identity/issuers).

/** How an issuer's own keys may sign (identity.md); the other way is a secret that both sides know. */
export const KEY_ALGS = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const
const SECRET_ALG = 'HS256'

/** Roles that a token of another issuer may give, the weakest first; the platform's is none of them. */
export const ISSUED_ROLES = ['viewer', 'member', 'developer', 'admin'] as const
export type IssuedRole = (typeof ISSUED_ROLES)[number]

const Claim = z.string().min(1, 'must name a claim').max(200)

/** The issuer's exact name: OIDC Discovery 1.0 leaves it no query and no fragment. */
const Iss = z
  .url({ protocol: /^https?$/, error: 'must be an absolute https URL' })
  .max(512)
  .regex(/^[^?#\s]+$/, 'must have neither a query nor a fragment')
  .meta({ example: 'https://login.example.com/' })

const Url = z
  .url({ protocol: /^https?$/, error: 'must be an absolute https URL' })
  .max(2048)
  .meta({ example: 'https://login.example.com/.well-known/jwks.json' })

/** RFC 7518, section 3.2: a key as long as the hash. */
const Secret = z
  .string()
  .min(32, 'must have at least 32 characters')
  .max(512, 'must have at most 512 characters')

const Claims = z.strictObject({
  email: Claim.default('email'),
  email_verified: Claim.default('email_verified'),
  name: Claim.default('name'),
  roles: Claim.nullable().default(null),
})

export const issuerFields = {
  iss: Iss,
  aud: z.string().min(1, 'must not be empty').max(512).meta({ example: 'https://api.example.com' }),
  jwks_uri: Url.nullable(),
  secret: Secret.nullable(),
  algs: z
    .array(z.enum([...KEY_ALGS, SECRET_ALG], 'must be RS256, PS256, ES256, EdDSA or HS256'))
    .min(1, 'must name at least one algorithm')
    .max(5),
  typ: z.enum(['at+jwt', 'JWT', 'optional'], 'must be at+jwt, JWT or optional'),
  require: z
    .record(Claim, z.string().max(200))
    .refine((claims) => Object.keys(claims).length <= 20, 'must have at most 20 claims'),
  claims: Claims,
  roles: z
    .record(z.string().min(1).max(200), z.enum(ISSUED_ROLES, `must be one of ${ISSUED_ROLES.join(', ')}`))
    .refine((roles) => Object.keys(roles).length <= 100, 'must have at most 100 roles'),
  default_role: z.enum(ISSUED_ROLES, `must be one of ${ISSUED_ROLES.join(', ')}`),
  provision: z.boolean(),
  trusts_email: z.boolean(),
}

/** What holds for an issuer of which nothing else was said. */
export const issuerDefaults = {
  typ: 'JWT',
  require: {},
  claims: { email: 'email', email_verified: 'email_verified', name: 'name', roles: null },
  roles: {},
  default_role: 'member',
  provision: false,
  trusts_email: false,
} as const satisfies Partial<z.input<z.ZodObject<typeof issuerFields>>>

type Keys = { jwks_uri: string | null; secret: string | null; algs: readonly string[] }

/** Why an issuer's keys and algorithms don't go together, by field; null where they do. */
export function refusalOfKeys({ jwks_uri, secret, algs }: Keys): Record<string, string> | null {
  if (jwks_uri !== null && secret !== null) return { secret: 'must be left out where jwks_uri is given' }
  if (jwks_uri === null && secret === null) return { jwks_uri: 'is required, unless there is a secret' }
  const symmetric = algs.includes(SECRET_ALG)
  // One key for both kinds is how a public key became a secret (RFC 8725, section 2.1).
  if (secret !== null && !algs.every((alg) => alg === SECRET_ALG))
    return { algs: 'must be HS256 alone where there is a secret' }
  if (jwks_uri !== null && symmetric) return { algs: 'must not have HS256 where there is a jwks_uri' }
  return null
}

/** The algorithms of an issuer that names none. */
export const defaultAlgs = (secret: string | null): (typeof KEY_ALGS)[number][] | [typeof SECRET_ALG] =>
  secret === null ? ['RS256'] : [SECRET_ALG]

/** One entry of TRUSTED_ISSUERS. */
export const TrustedIssuer = z
  .strictObject({
    ...issuerFields,
    jwks_uri: Url.nullable().default(null),
    secret: Secret.nullable().default(null),
    algs: issuerFields.algs.optional(),
    typ: issuerFields.typ.default(issuerDefaults.typ),
    require: issuerFields.require.default({}),
    claims: z
      .strictObject({ ...Claims.shape, tenant: Claim.default('tenant_id') })
      .default({ ...issuerDefaults.claims, tenant: 'tenant_id' }),
    /** The one tenant it speaks for; without it a claim names the tenant. */
    tenant_id: z.uuid().toLowerCase().nullable().default(null),
    roles: issuerFields.roles.default({}),
    default_role: issuerFields.default_role.default(issuerDefaults.default_role),
    provision: issuerFields.provision.default(false),
    trusts_email: issuerFields.trusts_email.default(false),
  })
  .transform((issuer) => ({ ...issuer, algs: issuer.algs ?? defaultAlgs(issuer.secret) }))
  .superRefine((issuer, issue) => {
    for (const [field, message] of Object.entries(refusalOfKeys(issuer) ?? {}))
      issue.addIssue({ code: 'custom', path: [field], message })
  })

export type TrustedIssuer = z.output<typeof TrustedIssuer>

/** What TRUSTED_ISSUERS says; an empty text says nothing. */
export const TrustedIssuers = z
  .string()
  .default('')
  .transform((text, issue) => {
    if (text.trim() === '') return []
    try {
      return JSON.parse(text) as unknown
    } catch {
      issue.addIssue({ code: 'custom', message: 'must be a JSON array' })
      return z.NEVER
    }
  })
  .pipe(z.array(TrustedIssuer))

/** The issuer of JWT_ISSUER and JWT_AUDIENCE: its keys are where its own discovery document says. */
export const plainIssuer = (iss: string, aud: string): TrustedIssuer => ({
  ...issuerDefaults,
  ...{ iss, aud, jwks_uri: null, secret: null, tenant_id: null, algs: [...KEY_ALGS] },
  claims: { ...issuerDefaults.claims, tenant: 'tenant_id' },
})

/** A URL of an issuer, or nothing. */
export const JwtIssuer = z.union([z.literal(''), Iss]).default('')

type Settings = {
  JWT_ISSUER: string
  JWT_AUDIENCE: string
  TRUSTED_ISSUERS: TrustedIssuer[]
  PUBLIC_URL: string
  ENVIRONMENT: string
}

/** Every issuer that the operator trusts. */
export const trustedIssuers = ({ JWT_ISSUER, JWT_AUDIENCE, TRUSTED_ISSUERS }: Settings): TrustedIssuer[] =>
  JWT_ISSUER === '' ? TRUSTED_ISSUERS : [...TRUSTED_ISSUERS, plainIssuer(JWT_ISSUER, JWT_AUDIENCE)]

/** What is wrong with the operator's issuers, by setting. */
export function refusalsOfTrusted(settings: Settings): { path: (string | number)[]; message: string }[] {
  const { JWT_ISSUER, JWT_AUDIENCE, PUBLIC_URL, ENVIRONMENT } = settings
  const alone = (JWT_ISSUER === '') !== (JWT_AUDIENCE === '')
  const refusals = alone
    ? [{ path: ['JWT_AUDIENCE'], message: 'JWT_ISSUER and JWT_AUDIENCE stand together' }]
    : []
  const seen = new Set<string>()
  // Its subjects are the same people for every audience, so who shares a secret for one must not speak for another.
  const bySecret = new Map<string, boolean>()
  return trustedIssuers(settings).reduce<{ path: (string | number)[]; message: string }[]>(
    (found, { iss, aud, jwks_uri, secret }, i) => {
      const path = i < settings.TRUSTED_ISSUERS.length ? ['TRUSTED_ISSUERS', i] : ['JWT_ISSUER']
      const refuse = (message: string) => found.push({ path, message })
      const urls = [iss, jwks_uri ?? iss]
      if (ENVIRONMENT !== 'development' && urls.some((url) => !url.startsWith('https:')))
        refuse('must be https')
      if (iss === PUBLIC_URL) refuse('must not be this service itself')
      const name = JSON.stringify([iss, aud])
      if (seen.has(name)) refuse('is there twice')
      seen.add(name)
      if ((bySecret.get(iss) ?? secret !== null) !== (secret !== null))
        refuse('must not have both a secret and keys of its own')
      bySecret.set(iss, secret !== null)
      return found
    },
    refusals,
  )
}
