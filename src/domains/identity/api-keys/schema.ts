import * as z from 'zod'
import { networkFrom } from '../../../lib/ip-address'
import { Id, Time } from '../../../lib/wire'
import { SCOPES, type Scope } from '../../tenancy/scopes'
import { MOST_OF_KEY } from './limits'

const scopes = (Object.keys(SCOPES) as Scope[]).filter((scope) => !scope.startsWith('platform:'))
const ScopeName = z.enum(scopes as [Scope, ...Scope[]])

const FutureTime = Time.refine((value) => Date.parse(value) > Date.now(), 'must lie in the future').meta({
  example: '2099-12-31T00:00:00.000Z',
})

const upTo = (most: number) => {
  const must = `must be a whole number from 1 to ${most}`
  return z.int(must).min(1, must).max(most, must)
}

/** A key's own limits; what it lacks is the tenant's matter alone. */
export const OwnLimits = z
  .strictObject({
    per_minute: upTo(MOST_OF_KEY.per_minute).optional(),
    per_day: upTo(MOST_OF_KEY.per_day).optional(),
    total: upTo(MOST_OF_KEY.total).optional().meta({ description: 'Counts down, and never comes back.' }),
  })
  .meta({ id: 'ApiKeyLimits', example: { per_minute: 100 } })

const Addresses = z
  .array(z.string().refine((text) => networkFrom(text) !== null, 'must be an IP address or a CIDR block'))
  .min(1)
  .max(100)
  .meta({ example: ['203.0.113.0/24', '2001:db8::/32'] })

export const CreateApiKey = z
  .strictObject({
    name: z.string().trim().min(1).max(128).meta({ example: 'Backend' }),
    scopes: z.array(ScopeName).min(1).optional().meta({
      description: 'Left out, the key gets all of its maker’s scopes but the administrative ones.',
    }),
    permissions: z
      .array(z.enum(['read', 'write']))
      .min(1)
      .optional()
      .meta({
        description: 'Short for every *:read or *:write scope the maker holds.',
      }),
    mode: z.enum(['live', 'test']).default('live').meta({
      description: 'A test key begins with sk_test_ and counts for nothing in production.',
    }),
    expires_at: FutureTime.optional(),
    allowed_addresses: Addresses.optional().meta({
      description:
        'Where the key may be used from, as IPv4 or IPv6 addresses or CIDR blocks. Left out: anywhere.',
    }),
    limits: OwnLimits.optional().meta({
      description: 'What the key may at most, on top of the tenant’s limits.',
    }),
  })
  .refine((input) => !(input.scopes && input.permissions), {
    path: ['permissions'],
    message: 'must be left out when scopes are given',
  })

export type CreateApiKey = z.output<typeof CreateApiKey>

/** The longest that a key lives on after its rotation: seven days. */
const MAX_OVERLAP_SECONDS = 7 * 24 * 3600
const overlap = `must be a whole number from 0 to ${MAX_OVERLAP_SECONDS}`

export const RotateApiKey = z.strictObject({
  overlap_seconds: z
    .int(overlap)
    .min(0, overlap)
    .max(MAX_OVERLAP_SECONDS, overlap)
    .default(24 * 3600)
    .meta({ description: 'For how long the key that is rotated goes on to count; 0 ends it at once.' }),
  expires_at: FutureTime.optional().meta({
    description: 'When the new key ends. Left out: when the old one would have.',
  }),
})

export type RotateApiKey = z.output<typeof RotateApiKey>

export const ApiKey = z
  .object({
    id: Id,
    name: z.string(),
    prefix: z.string().meta({ example: 'sk_live_4f9a' }),
    scopes: z.array(z.string()),
    limits: OwnLimits.nullable(),
    allowed_addresses: z.array(z.string()).nullable(),
    status: z.enum(['active', 'rotating', 'expired', 'revoked']),
    replaced_by: Id.nullable().meta({ description: 'The key that a rotation made of it.' }),
    created_by: Id.nullable(),
    last_used_at: z.string().nullable(),
    expires_at: z.string().nullable(),
    created_at: z.string(),
  })
  .meta({ id: 'ApiKey' })

/** The only answer that shows the key. */
export const NewApiKey = ApiKey.extend({ key: z.string() }).meta({ id: 'NewApiKey' })
