import * as z from 'zod'
import { isPhone } from './phone'

/** A whole number within bounds, as settings have it: a text, or none for the default. */
const whole = (least: number, most: number, otherwise: number) =>
  z
    .string()
    .default('')
    .transform((text) => (text === '' ? otherwise : Number(text)))
    .refine(
      (value) => Number.isInteger(value) && value >= least && value <= most,
      `must be a whole number from ${least} to ${most}`,
    )

// How agents call by telephone (docs/voice.md, "Calls").

export const CallSettings = {
  /** Who places calls; empty: nobody does, but for tenants with an account of their own. */
  CALL_PROVIDER: z.enum(['', 'simulated', 'ultravox']).default(''),
  /** The number that calls where none is named. */
  CALL_FROM: z
    .string()
    .default('')
    .refine((text) => text === '' || isPhone(text), 'must be a telephone number in E.164'),
  /** Credits; charged by the second. */
  CALL_CREDITS_PER_MINUTE: whole(0, 1_000_000, 10),
  /** The longest that a call may last. */
  CALL_MAX_MINUTES: whole(1, 1440, 60),
  /** How many times faster than people a simulated call goes. */
  CALL_SIMULATED_SPEED: whole(1, 1000, 1),
} as const
