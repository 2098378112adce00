import * as z from 'zod'

const Code = z
  .string()
  .trim()
  .regex(/^\d{6}$/, 'must be six digits')
  .meta({ example: '492039', description: 'What the authenticator app shows now.' })

const RecoveryCode = z
  .string()
  .max(100)
  .meta({ example: 'v3x9-0k2m-7hqp-d4wa', description: 'One of the recovery codes, each good for one use.' })

const secondFactor = { code: Code.optional(), recovery_code: RecoveryCode.optional() }

type GivenCodes = { code?: string | undefined; recovery_code?: string | undefined }
const exactlyOne = (input: GivenCodes) => (input.code === undefined) !== (input.recovery_code === undefined)
const ONE = { path: ['code'], message: 'is required, or else recovery_code: give one of the two' }

export const ConfirmTotp = z.strictObject({ code: Code })

export const SecondFactor = z.strictObject(secondFactor).refine(exactlyOne, ONE)

export const AnswerChallenge = z
  .strictObject({
    challenge: z
      .string()
      .min(1)
      .max(100)
      .meta({ description: 'As the login answered it in details.challenge.' }),
    ...secondFactor,
  })
  .refine(exactlyOne, ONE)

export const Enrolment = z
  .object({
    secret: z.string().meta({ description: 'In base32, to be typed where no QR code can be read.' }),
    uri: z.string().meta({ example: 'otpauth://totp/Causeway:ada%40example.com?…' }),
    qr: z.string().meta({ description: 'The URI as a QR code: a data URI of an SVG.' }),
  })
  .meta({ id: 'TotpEnrolment' })

export const TotpStatus = z
  .object({
    status: z.enum(['none', 'pending', 'active']),
    confirmed_at: z.string().nullable(),
    recovery_codes_left: z.int(),
  })
  .meta({ id: 'TotpStatus' })

export const RecoveryCodes = z
  .object({ message: z.string(), recovery_codes: z.array(z.string()) })
  .meta({ id: 'RecoveryCodes' })
