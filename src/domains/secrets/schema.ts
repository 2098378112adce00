import * as z from 'zod'
import { createdBetween, Id, paging } from '../../lib/wire'
import { hostNamed } from './template'

export const SecretName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 of the characters A-Z a-z 0-9 _ -')
  .meta({ description: 'Used as `{{secrets.name}}`.', example: 'billing' })

const Hosts = z
  .array(
    z
      .string()
      .max(253)
      .transform((text, issue) => {
        const host = hostNamed(text)
        if (host !== null) return host
        issue.addIssue({
          code: 'custom',
          message: 'must be a host name, such as api.example.com or *.example.com',
        })
        return z.NEVER
      }),
  )
  .min(1, 'must name at least one host')
  .max(20, 'must have at most 20 hosts')

export const PutSecret = z.strictObject({
  value: z
    .string()
    .min(4, 'must have at least 4 characters')
    .max(4096, 'must have at most 4096 characters')
    .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'must be visible ASCII without spaces at its ends')
    .meta({ description: 'Never shown again.', example: 'k3y-of-the-billing-service' }),
  hosts: Hosts.meta({
    description: 'Host names that it may be sent to; `*.example.com` for all below one.',
    example: ['api.example.com'],
  }),
  description: z.string().max(1000, 'must have at most 1000 characters').default(''),
})

export const ListSecrets = { ...paging, ...createdBetween }

/** All but its value. */
export const Secret = z
  .object({
    id: Id,
    tenant_id: Id,
    name: SecretName,
    description: z.string(),
    hosts: z.array(z.string()).meta({ example: ['api.example.com'] }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Secret' })

export type PutSecret = z.output<typeof PutSecret>
export type ListSecrets = z.output<z.ZodObject<typeof ListSecrets>>
export type Secret = z.input<typeof Secret>
