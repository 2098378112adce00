import type { Context } from '../../data/context'
import { type FieldErrors, problem } from '../../lib/problem'
import { refusalOfUrl } from '../../lib/safe-url'
import { checkerOf, schemaErrors } from '../events/types/json-schema'
import { checkTemplates, templatesOf } from '../webhooks/endpoints/header-secrets'
import type { ToolRow } from './table'
import { placesIn, sampleOf } from './url'

type Said = Pick<ToolRow, 'url' | 'method' | 'headers' | 'parameters'>

/** Refuses a tool that can’t be called as it is (422), or that who saves it may not have called (403). */
export async function checkTool(ctx: Context, tool: Said, before?: Said): Promise<void> {
  const errors = renamed(schemaErrors(tool.parameters), 'schema', 'parameters')
  if (Object.keys(errors).length === 0) Object.assign(errors, refusedParameters(tool))
  // An address that is no longer allowed is told where it is changed, so that all else can still be.
  const refusal = tool.url === before?.url ? null : await refusalOfUrl(sampleOf(tool.url), ctx.settings)
  if (refusal !== null) errors.url = refusal
  if (Object.keys(errors).length > 0) throw problem.invalid(errors)
  const known =
    before?.method === tool.method ? { url: sampleOf(before.url), headers: before.headers } : undefined
  if (
    !known ||
    known.url !== sampleOf(tool.url) ||
    JSON.stringify(known.headers) !== JSON.stringify(tool.headers)
  )
    refuseActing(ctx, tool)
  await checkTemplates(ctx, sampleOf(tool.url), tool.headers, known)
}

/** Refuses to call a tool, or to have an agent call it, whose secrets the caller may not have sent. */
export function admitCaller(ctx: Context, tool: Pick<Said, 'headers'>): void {
  refuseActing(ctx, tool)
  const missing = 'secrets:use'
  if (usesSecrets(tool) && !ctx.principal.scopes.has(missing))
    throw problem('insufficient_scope', `To call a tool that is sent a secret needs the scope ${missing}`, {
      details: { required: [missing], missing },
    })
}

const usesSecrets = ({ headers }: Pick<Said, 'headers'>) => Object.keys(templatesOf(headers)).length > 0

function refuseActing(ctx: Context, tool: Pick<Said, 'headers'>): void {
  if (ctx.impersonator !== null && usesSecrets(tool))
    throw problem('forbidden_while_acting', 'To use a secret is not for who acts in a tenant of others')
}

const PLAIN = ['string', 'number', 'integer', 'boolean']

/** Models give arguments as an object; what stands in the URL must be there, and be a plain value. */
function refusedParameters({ url, parameters }: Said): FieldErrors {
  const { type, properties, required } = parameters
  if (type !== 'object') return { 'parameters.type': 'must be object, since arguments are given by name' }
  const known = (properties ?? {}) as Record<string, unknown>
  const errors: FieldErrors = {}
  for (const name of placesIn(url)) {
    const given = Object.hasOwn(known, name) && Array.isArray(required) && required.includes(name)
    const kind = (known[name] as { type?: unknown } | null)?.type
    if (!given) errors.url = `names {${name}}, which must be one of the required properties of parameters`
    else if (kind !== undefined && !(typeof kind === 'string' && PLAIN.includes(kind)))
      errors[`parameters.properties.${name}.type`] =
        'must be string, number, integer or boolean, since it stands in the URL'
  }
  return errors
}

/** What is wrong with arguments, by the path of the place; null where nothing is. */
export function wrongArguments(
  { parameters }: Pick<ToolRow, 'parameters'>,
  args: unknown,
): FieldErrors | null {
  const wrong = checkerOf(parameters)(args)
  return wrong && renamed(wrong, 'data', 'arguments')
}

/** Paths that begin with another name. */
const renamed = (errors: FieldErrors, from: string, to: string): FieldErrors =>
  Object.fromEntries(
    Object.entries(errors).map(([path, message]) => [`${to}${path.slice(from.length)}`, message]),
  )
