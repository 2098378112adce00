import * as z from 'zod'
import { issuerDefaults, issuerFields } from '../../../lib/issuer'
import { Id, paging } from '../../../lib/wire'

const { iss, secret, jwks_uri, algs, ...rest } = issuerFields

const fields = {
  aud: rest.aud.meta({ description: 'What `aud` must be or name.', example: 'https://api.example.com' }),
  jwks_uri: jwks_uri.meta({
    description: 'Where the issuer publishes its keys. Its keys are taken from nowhere else.',
    example: 'https://login.example.com/.well-known/jwks.json',
  }),
  algs: algs.meta({ description: 'How it may sign.', example: ['RS256'] }),
  typ: rest.typ.meta({
    description:
      '`typ` of its tokens: at+jwt (RFC 9068) alone; JWT, which that is too; or optional, where it may be missing.',
    example: 'JWT',
  }),
  require: rest.require.meta({
    description:
      'Claims that a token must carry with just this value, such as what tells it from an ID token.',
    example: {},
  }),
  claims: rest.claims.meta({
    description: 'Where email, name and roles are; `realm_access.roles` is a path.',
  }),
  roles: rest.roles.meta({ description: 'What its roles are here.', example: { editors: 'developer' } }),
  default_role: rest.default_role.meta({ description: 'For who has none of these roles.' }),
  provision: rest.provision.meta({ description: 'Whether a person it vouches for becomes a user.' }),
  trusts_email: rest.trusts_email.meta({
    description: 'Whether its addresses are verified without a claim that says so.',
  }),
  is_active: z.boolean().meta({ description: 'Whether its tokens count.' }),
}

const sharedSecret = secret.meta({
  description: 'Shared with an issuer that signs by HS256, instead of jwks_uri. Never shown.',
})

export const CreateIssuer = z.strictObject({
  ...fields,
  iss: iss.meta({ description: 'Just as its tokens write it.', example: 'https://login.example.com/' }),
  jwks_uri: fields.jwks_uri.default(null),
  secret: sharedSecret.default(null),
  algs: fields.algs.optional(),
  typ: fields.typ.default(issuerDefaults.typ),
  require: fields.require.default({}),
  claims: fields.claims.default({ ...issuerDefaults.claims }),
  roles: fields.roles.default({}),
  default_role: fields.default_role.default(issuerDefaults.default_role),
  provision: fields.provision.default(false),
  trusts_email: fields.trusts_email.default(false),
  is_active: fields.is_active.default(true),
})

/** Its name is what its subjects are known by: another one is another issuer. */
export const UpdateIssuer = z.strictObject({ ...fields, secret: sharedSecret }).partial()

export const ListIssuers = { ...paging }

export const Issuer = z
  .object({
    id: Id,
    iss: z.string().meta({ example: 'https://login.example.com/' }),
    ...fields,
    algs: z.array(z.string()),
    has_secret: z.boolean(),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Issuer' })

export type CreateIssuer = z.output<typeof CreateIssuer>
export type UpdateIssuer = z.output<typeof UpdateIssuer>
export type Issuer = z.input<typeof Issuer>
