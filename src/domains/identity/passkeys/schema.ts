import * as z from 'zod'
import { Id } from '../../../lib/wire'

/** Beyond any that a browser makes; the whole stays far below the body's limit. */
const MOST = 20_000

const Bytes = z
  .string()
  .min(1, 'must not be empty')
  .max(MOST)
  .regex(/^[\w-]+$/, 'must be base64url without padding')

/** Fields that a browser adds are left out: they say nothing that is signed. */
const Answer = {
  id: Bytes,
  rawId: Bytes,
  type: z.literal('public-key'),
  clientExtensionResults: z.looseObject({}),
}

const RegistrationAnswer = z
  .object({
    ...Answer,
    response: z.object({
      clientDataJSON: Bytes,
      attestationObject: Bytes,
      transports: z.array(z.string().max(30)).max(10).optional(),
    }),
  })
  .meta({ description: 'What navigator.credentials.create() gave, as JSON.' })
export type RegistrationAnswer = z.output<typeof RegistrationAnswer>

const LoginAnswer = z
  .object({
    ...Answer,
    response: z.object({
      clientDataJSON: Bytes,
      authenticatorData: Bytes,
      signature: Bytes,
      userHandle: Bytes,
    }),
  })
  .meta({ description: 'What navigator.credentials.get() gave, as JSON.' })
export type LoginAnswer = z.output<typeof LoginAnswer>

export const VerifyRegistration = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(100)
    .optional()
    .meta({ description: 'To know it again in the list.', example: 'Work laptop' }),
  response: RegistrationAnswer,
})
export type VerifyRegistration = z.output<typeof VerifyRegistration>

export const VerifyLogin = z.strictObject({ response: LoginAnswer })

/** PublicKeyCredentialCreationOptionsJSON of WebAuthn. */
export const CreationOptions = z.looseObject({ challenge: z.string() }).meta({
  id: 'PasskeyCreationOptions',
  description: 'For PublicKeyCredential.parseCreationOptionsFromJSON().',
})

/** PublicKeyCredentialRequestOptionsJSON of WebAuthn. */
export const RequestOptions = z.looseObject({ challenge: z.string() }).meta({
  id: 'PasskeyRequestOptions',
  description: 'For PublicKeyCredential.parseRequestOptionsFromJSON().',
})

export const Passkey = z
  .object({
    id: Id,
    name: z.string(),
    aaguid: z.string().meta({ description: 'The authenticator’s model.' }),
    device_type: z.enum(['single_device', 'multi_device']),
    backed_up: z.boolean(),
    transports: z.array(z.string()),
    last_used_at: z.string().nullable(),
    created_at: z.string(),
  })
  .meta({ id: 'Passkey' })

const base = { clientDataJSON: 'eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0' }
const credential = { id: 'AAECAwQFBgc', rawId: 'AAECAwQFBgc', type: 'public-key', clientExtensionResults: {} }

/** Of the right form; no authenticator made them. */
export const EXAMPLES = {
  registration: {
    name: 'Work laptop',
    response: {
      ...credential,
      response: { ...base, attestationObject: 'o2NmbXRkbm9uZQ', transports: ['internal'] },
    },
  },
  login: {
    response: {
      ...credential,
      response: { ...base, authenticatorData: 'SZYN5YgOjGh0NBcP', signature: 'MEUCIQD0', userHandle: 'AZ-k' },
    },
  },
}
