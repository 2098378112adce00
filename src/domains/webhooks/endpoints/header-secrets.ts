import type { Context } from '../../../data/context'
import { type FieldErrors, problem } from '../../../lib/problem'
import { secretsNamed, type Usable } from '../../secrets/service'
import { fill, mayGoTo, namesIn } from '../../secrets/template'
import type { StoredHeaders } from './table'

// `{{secrets.name}}` in the headers of an endpoint. What stands there is checked when it is saved and again at every
// attempt, since a secret is replaced and deleted without the endpoint.

/** Those of an endpoint's headers that use secrets. */
export function templatesOf(headers: StoredHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      typeof value === 'string' && namesIn(value).length > 0 ? [[name, value]] : [],
    ),
  )
}

const namesOf = (templates: Record<string, string>) => Object.values(templates).flatMap(namesIn)

/** Why a secret can't be sent to a URL; null where it can. */
function refusalOf(name: string, found: Usable | undefined, url: string): string | null {
  if (!found)
    return `uses {{secrets.${name}}}, which is not there: set it with PUT /api/v1/secrets/${name}, or use another`
  const { hostname } = new URL(url)
  return mayGoTo(found.hosts, hostname)
    ? null
    : `uses {{secrets.${name}}}, which may not go to ${hostname}: set it anew with that host, or use another`
}

/**
 * Whether who asks may have the headers' secrets sent to `url`, where either is new: 403 without the scope, 422 for a
 * secret that is not there or names other hosts.
 */
export async function checkTemplates(
  ctx: Context,
  url: string,
  headers: StoredHeaders,
  before?: { url: string; headers: StoredHeaders },
): Promise<void> {
  const templates = templatesOf(headers)
  const known = before?.url === url ? templatesOf(before.headers) : {}
  const added = Object.entries(templates).filter(([name, value]) => known[name] !== value)
  if (added.length === 0) return
  const refused = await refusedTemplates(ctx, url, Object.fromEntries(added))
  const fields = Object.entries(refused).map(([header, refusal]) => [`headers.${header}`, refusal])
  if (fields.length > 0) throw problem.invalid(Object.fromEntries(fields))
}

/**
 * Why these texts, by their names, can’t be sent to `url` with the secrets that they use; 403 where who asks may have none
 * sent.
 */
export async function refusedTemplates(
  ctx: Context,
  url: string,
  templates: Record<string, string>,
): Promise<FieldErrors> {
  const missing = 'secrets:use'
  if (!ctx.principal.scopes.has(missing))
    throw problem('insufficient_scope', `To use a secret needs the scope ${missing}`, {
      details: { required: [missing], missing },
    })
  const found = await secretsNamed(ctx, namesOf(templates))
  const errors: FieldErrors = {}
  for (const [field, value] of Object.entries(templates))
    for (const name of namesIn(value)) {
      const refusal = refusalOf(name, found.get(name), url)
      if (refusal !== null) errors[field] = refusal
    }
  return errors
}

/** The headers with their secrets in place, as they are now, and the secrets’ values; `refusal` says why there are none. */
export async function fillTemplates(
  ctx: Context,
  url: string,
  templates: Record<string, string>,
): Promise<{ headers: Record<string, string>; values: string[]; refusal: string | null }> {
  const names = namesOf(templates)
  const found = await secretsNamed(ctx, names)
  const values = new Map<string, string>()
  for (const name of names) {
    const one = found.get(name)
    const refusal = refusalOf(name, one, url)
    if (!one || refusal !== null) return { headers: {}, values: [], refusal: `secret: a header ${refusal}` }
    values.set(name, await one.open())
  }
  const filled = Object.entries(templates).map(([header, value]) => [
    header,
    fill(value, (name) => values.get(name) ?? ''),
  ])
  return { headers: Object.fromEntries(filled), values: [...values.values()], refusal: null }
}
