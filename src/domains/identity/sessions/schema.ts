import * as z from 'zod'
import { Id } from '../../../lib/wire'
import { Email } from '../users/schema'

export const Login = z.strictObject({
  email: Email,
  password: z.string().max(1000),
  tenant: z
    .string()
    .max(63)
    .optional()
    .meta({ description: 'Id or slug of the tenant, where the address has several.' }),
})
export type Login = z.output<typeof Login>

export const Refresh = z.strictObject({
  refresh_token: z.string().max(200).optional().meta({ description: 'Left out, the cookie is used.' }),
})

/** With ?cookies=only the tokens are in the cookies and nowhere else. */
export const LoggedIn = z
  .object({
    message: z.string().meta({ example: 'Login successful' }),
    access_token: z.string().optional(),
    refresh_token: z.string().optional(),
    token_type: z.literal('Bearer').optional(),
    expires_in: z
      .int()
      .optional()
      .meta({ description: 'Seconds until the access token ends.', example: 900 }),
  })
  .meta({ id: 'LoggedIn' })

export const Notice = z.object({ message: z.string() }).meta({ id: 'Notice' })

export const Session = z
  .object({
    id: Id,
    user_agent: z.string().nullable(),
    address: z.string().nullable(),
    is_current: z.boolean(),
    created_at: z.string(),
    last_seen_at: z.string(),
    expires_at: z.string(),
  })
  .meta({ id: 'Session' })
