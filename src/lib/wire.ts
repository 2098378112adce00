import * as z from 'zod'
import { isUuid } from './ids'

// Shapes on the wire that every resource shares.

/** A well-formed id in a path or body; another string is 422. */
export const Id = z
  .string()
  .toLowerCase()
  .refine(isUuid, 'must be a UUID')
  .meta({ format: 'uuid', example: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' })

const LIMIT = 'must be a whole number from 1 to 100'

/** The query parameters of every list. */
export const paging = {
  limit: z.coerce
    .number(LIMIT)
    .int(LIMIT)
    .min(1, LIMIT)
    .max(100, LIMIT)
    .default(50)
    .meta({ description: 'Rows to answer.' }),
  cursor: z.string().max(1024).optional().meta({ description: 'next_cursor of the page before.' }),
}

/** The first moment whose ISO form has a fifth digit of the year, and sorts before every other. */
const YEAR_10000 = Date.UTC(10_000, 0)

/** A time in ISO 8601 with its offset; it is kept in UTC with milliseconds. */
export const Time = z.iso
  // What is no time at all is told by that alone.
  .datetime({ offset: true, error: 'must be a time like 2026-01-31T10:00:00.000Z', abort: true })
  .refine((value) => Date.parse(value) < YEAR_10000, 'must be before the year 10000')
  .refine(hasFourDigits, 'must lie in the years 0000 to 9999 in UTC')
  .transform((value) => new Date(value).toISOString())
  .meta({ format: 'date-time', example: '2026-01-31T10:00:00.000Z' })

/** Times are compared as they are written: one whose offset carries it into a year with a sign would sort before all. */
function hasFourDigits(value: string): boolean {
  const ms = Date.parse(value)
  return Number.isNaN(ms) || new Date(ms).toISOString().length === '2026-01-31T10:00:00.000Z'.length
}

/** Filters of a list by the time its rows were made; from `created_after` on, before `created_before`. */
export const createdBetween = {
  created_after: Time.optional(),
  created_before: Time.optional(),
}
