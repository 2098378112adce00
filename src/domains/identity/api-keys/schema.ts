import * as z from 'zod'
import { Id, Time } from '../../../lib/wire'
import { SCOPES, type Scope } from '../../tenancy/scopes'

const scopes = (Object.keys(SCOPES) as Scope[]).filter((scope) => !scope.startsWith('platform:'))
const ScopeName = z.enum(scopes as [Scope, ...Scope[]])

const FutureTime = Time.refine((value) => Date.parse(value) > Date.now(), 'must lie in the future').meta({
  example: '2099-12-31T00:00:00.000Z',
})

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
    expires_at: FutureTime.optional(),
  })
  .refine((input) => !(input.scopes && input.permissions), {
    path: ['permissions'],
    message: 'must be left out when scopes are given',
  })

export type CreateApiKey = z.output<typeof CreateApiKey>

export const ApiKey = z
  .object({
    id: Id,
    name: z.string(),
    prefix: z.string().meta({ example: 'sk_live_4f9a' }),
    scopes: z.array(z.string()),
    status: z.enum(['active', 'expired', 'revoked']),
    created_by: Id.nullable(),
    last_used_at: z.string().nullable(),
    expires_at: z.string().nullable(),
    created_at: z.string(),
  })
  .meta({ id: 'ApiKey' })

/** The only answer that shows the key. */
export const NewApiKey = ApiKey.extend({ key: z.string() }).meta({ id: 'NewApiKey' })
