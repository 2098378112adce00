import * as z from 'zod'
import type { Dialect, Place } from '../../http/dialect'
import type { Problem, ProblemCode } from '../../lib/problem'

// Svix's words: how its API says what goes wrong (https://api.svix.com/docs). Its clients read `detail` as a list where
// the status is 422, and as a text everywhere else.

const SvixError = z
  .object({ code: z.string().meta({ example: 'not_found' }), detail: z.string() })
  .meta({ id: 'SvixError' })

const SvixValidationError = z
  .object({
    detail: z.array(
      z.object({
        loc: z.array(z.string()).meta({ example: ['body', 'url'] }),
        msg: z.string(),
        type: z.string().meta({ example: 'value_error' }),
      }),
    ),
  })
  .meta({ id: 'SvixValidationError' })

/** Codes that its clients know by other names. */
const THEIRS: Partial<Record<ProblemCode, string>> = { already_exists: 'conflict' }

function codeOf({ code, category }: Problem): string {
  return THEIRS[code] ?? (category === 'authentication' ? 'authentication_failed' : code)
}

export const svix: Dialect = {
  name: 'svix',
  refusal: (failure, placeOf) =>
    failure.status === 422
      ? { detail: wrong(failure, placeOf) }
      : { code: codeOf(failure), detail: textOf(failure) },
  refusalSchema: (status) => (status === 422 ? SvixValidationError : SvixError),
}

/** What to do next may speak of details, which are in a place of their own elsewhere. */
function textOf({ message, hint, details }: Problem): string {
  const more = hint.includes('details') ? ` Details: ${JSON.stringify(details)}` : ''
  return `${message}. ${hint}${more}`
}

/** Every wrong field by its place; what is wrong with no field is in the header that it came by. */
function wrong(failure: Problem, placeOf: (field: string) => Place) {
  const { fields } = failure.details as { fields?: Record<string, string> }
  if (!fields) return [{ loc: ['header', 'idempotency-key'], msg: textOf(failure), type: failure.code }]
  return Object.entries(fields).map(([path, msg]) => {
    const [field = '', ...rest] = path.split('.')
    const place = placeOf(field)
    const loc = path === 'body' && place === 'body' ? ['body'] : [place, field, ...rest]
    return { loc, msg, type: 'value_error' }
  })
}
