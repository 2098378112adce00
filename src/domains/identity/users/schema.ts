import * as z from 'zod'
import { utf8 } from '../../../lib/encoding'
import { Id } from '../../../lib/wire'
import { passwordRefusal } from './password'

export const Email = z
  .string()
  .trim()
  .toLowerCase()
  .max(254, 'must have at most 254 characters')
  .pipe(z.email('must be an email address'))
  .meta({ format: 'email', example: 'ada@example.com' })

export const Password = z
  .string()
  .superRefine((password, issue) => {
    const refusal = passwordRefusal(password)
    if (refusal) issue.addIssue({ code: 'custom', message: refusal })
  })
  .meta({ minLength: 10, maxLength: 200, example: 'a long and unusual phrase' })

export const FullName = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200)
  .meta({ example: 'Ada Lovelace' })

export const Role = z.enum(
  ['viewer', 'member', 'developer', 'admin', 'platform_admin'],
  'must be viewer, member, developer, admin or platform_admin',
)

// A list shows a hundred users with what is theirs: each of these is small enough for that.

/** A data URI of an image; the page that shows it decides nothing but the picture. */
const Avatar = z
  .string()
  .max(64 * 1024, 'must have at most 64 KiB')
  .regex(
    /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+=*$/,
    'must be a data URI of a PNG, JPEG, GIF or WebP',
  )

const MOST_PREFERENCES = 16 * 1024
const Preferences = z
  .record(z.string().max(100), z.json())
  .refine(
    (said) => utf8(JSON.stringify(said)).byteLength <= MOST_PREFERENCES,
    'must have at most 16 KiB as JSON',
  )

export const User = z
  .object({
    id: Id,
    tenant_id: Id,
    email: z.string().meta({ example: 'ada@example.com' }),
    full_name: z.string().nullable(),
    role: Role,
    status: z.enum(['active', 'suspended']),
    avatar: z.string().nullable(),
    preferences: z.record(z.string(), z.unknown()),
    email_verified_at: z.string().nullable(),
    last_login_at: z.string().nullable(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .meta({ id: 'User' })

/** Who is calling: the user, or the maker of the API key, and by what credential. */
export const Me = User.extend({
  principal: z.object({
    kind: z.enum(['user', 'api_key']),
    id: Id,
    name: z.string(),
    scopes: z.array(z.string()),
  }),
}).meta({ id: 'Me' })

export const UpdateMe = z.strictObject({
  full_name: FullName.nullable().optional(),
  avatar: Avatar.nullable().optional(),
  preferences: Preferences.optional(),
})

export const Register = z
  .strictObject({
    email: Email,
    password: Password,
    full_name: FullName.optional(),
    tenant_id: Id.optional().meta({ description: 'Joins this tenant if its open_registration is on.' }),
    team_id: Id.optional().meta({ description: 'Another name of tenant_id.' }),
    // An empty one must not make a tenant of one's own for who was invited to another.
    invitation: z
      .string()
      .min(1, 'must not be empty')
      .max(200)
      .optional()
      .meta({ description: 'The token of an invitation mail.' }),
  })
  .refine((input) => [input.tenant_id, input.team_id, input.invitation].filter(Boolean).length <= 1, {
    path: ['tenant_id'],
    message: 'must stand alone: give one of tenant_id, team_id and invitation',
  })

export const ConfirmEmail = z.strictObject({
  token: z.string().min(1).max(200).meta({ description: 'Of the mail; it works once, within a day.' }),
  password: z
    .string()
    .max(1000)
    .optional()
    .meta({ description: 'The account’s. Needed where it took the place of an earlier registration.' }),
})

export const ForgotPassword = z.strictObject({ email: Email })

export const ResetPassword = z.strictObject({
  token: z.string().min(1).max(200).meta({ description: 'Of the mail; it works once, within an hour.' }),
  password: Password,
})

export const ChangePassword = z
  .strictObject({ current_password: z.string().max(1000), new_password: Password })
  .refine(({ current_password, new_password }) => current_password !== new_password, {
    path: ['new_password'],
    message: 'must be another than the current one',
  })
  .meta({
    example: {
      current_password: 'a long and unusual phrase',
      new_password: 'another long and unusual phrase',
    },
  })

export type ResetPassword = z.output<typeof ResetPassword>
export type ChangePassword = z.output<typeof ChangePassword>
export type Register = z.output<typeof Register>
export type UpdateMe = z.output<typeof UpdateMe>
