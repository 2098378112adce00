import * as z from 'zod'
import { ProviderName } from '../../../lib/oauth-providers'
import { Id } from '../../../lib/wire'

/** 32 bytes in base64url. */
const STATE_FORM = /^[A-Za-z0-9_-]{43}$/

export const Provider = ProviderName.meta({
  description: 'A provider that the service is configured for.',
  example: 'github',
})

export const AuthorizeQuery = {
  tenant: z
    .string()
    .min(1)
    .max(63)
    .optional()
    .meta({ description: 'Id or slug of the tenant to log in to; without one it is found by the login.' }),
  redirect_to: z
    .string()
    .max(2000)
    .optional()
    .meta({ description: 'Where the browser goes afterwards: a path here, or a URL of an allowed origin.' }),
}

/** What a provider sends along; it may send more, which is its own affair. */
export const CallbackQuery = z.object({
  state: z
    .string()
    .regex(STATE_FORM, 'must be a state of this service')
    .meta({ description: 'As it was given.' }),
  code: z.string().min(1).max(4096).optional(),
  error: z.string().max(200).optional(),
  iss: z.string().max(500).optional(),
})

export const Authorization = z
  .object({
    url: z.string().meta({
      description: 'Where the browser logs in.',
      example: 'https://github.com/login/oauth/authorize?client_id=…',
    }),
    expires_in: z.int().meta({ description: 'Seconds until it must be back.', example: 600 }),
  })
  .meta({ id: 'OauthAuthorization' })

export const OauthAccount = z
  .object({
    id: Id,
    provider: z.string().meta({ example: 'github' }),
    email: z.string().meta({ example: 'ada@example.com' }),
    created_at: z.string(),
    last_login_at: z.string().nullable(),
  })
  .meta({ id: 'OauthAccount' })
