import * as z from 'zod'

/** A signing key that was made, without its private half. */
export const SigningKey = z
  .object({
    kid: z.string(),
    created_at: z.string(),
    signs_from: z.string().meta({ description: 'From when it signs; it is published since created_at.' }),
  })
  .meta({ id: 'SigningKey' })

export const Resealed = z
  .object({
    resealed: z.int().meta({ description: 'Values that were encrypted anew.' }),
    unreadable: z.int().meta({ description: 'Values that no known master key opens; the log names them.' }),
  })
  .meta({ id: 'Resealed' })
