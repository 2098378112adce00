import * as z from 'zod'
import type { Dialect } from '../../../http/dialect'
import type { Category, Problem, ProblemCode } from '../../../lib/problem'

// OpenAI’s words: how its API says what goes wrong (https://platform.openai.com/docs/guides/error-codes).

const OpenAiError = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string().meta({ example: 'invalid_request_error' }),
      param: z.string().nullable().meta({ description: 'The field that is wrong.', example: 'messages' }),
      code: z.string().nullable().meta({ example: 'model_not_found' }),
    }),
  })
  .meta({ id: 'OpenAiError' })

const TYPES: Partial<Record<Category, string>> = {
  authentication: 'authentication_error',
  authorization: 'permission_error',
  rate_limit: 'rate_limit_error',
  service_error: 'server_error',
}

/** Codes that its clients know by other names. */
const THEIRS: Partial<Record<ProblemCode, string>> = {
  rate_limited: 'rate_limit_exceeded',
  credential_required: 'invalid_api_key',
  invalid_token: 'invalid_api_key',
}

/** The agent was asked. */
const ASKED: ReadonlySet<ProblemCode> = new Set(['upstream_failed', 'upstream_timeout'])

function codeOf({ code, details }: Problem): string {
  if (code === 'not_found' && details.resource === 'model') return 'model_not_found'
  return THEIRS[code] ?? code
}

export const openai: Dialect = {
  name: 'openai',
  refusal: (failure) => ({
    error: {
      message: messageOf(failure),
      type: TYPES[failure.category] ?? 'invalid_request_error',
      param: paramOf(failure),
      code: codeOf(failure),
    },
  }),
  // Its clients repeat what failed on their own, and an agent that was asked may have acted.
  headers: ({ code }) => (ASKED.has(code) ? { 'X-Should-Retry': 'false' } : {}),
  refusalSchema: () => OpenAiError,
}

const fieldsOf = ({ details }: Problem) => details.fields as Record<string, string> | undefined

/** Every wrong field; of other refusals what to do next, which may speak of details that have no place of their own. */
function messageOf(failure: Problem): string {
  const fields = fieldsOf(failure)
  if (fields)
    return Object.entries(fields)
      .map(([name, wrong]) => `${name}: ${wrong}`)
      .join('; ')
  const { message, hint, details } = failure
  const more = hint.includes('details') ? ` Details: ${JSON.stringify(details)}` : ''
  return `${message}. ${hint}${more}`
}

function paramOf(failure: Problem): string | null {
  const [first] = Object.keys(fieldsOf(failure) ?? {})
  if (first !== undefined) return first
  return codeOf(failure) === 'model_not_found' ? 'model' : null
}
