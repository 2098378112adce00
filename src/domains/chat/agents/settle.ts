import type { Context } from '../../../data/context'
import { type FieldErrors, problem } from '../../../lib/problem'
import { refusalOfResolved, refusalOfTarget } from '../../../lib/safe-url'
import { MASK, type UpdateAgent } from './schema'
import { SECRETS, type SecretName, sealSecret } from './secrets'
import type { AgentRow } from './table'

type Kind = AgentRow['kind']
type Columns = Omit<AgentRow, 'tenant_id' | 'id' | 'version' | 'created_by' | 'created_at' | 'updated_at'>

/** The fields that only agents of some kinds have. */
const OF_KINDS: Partial<Record<keyof UpdateAgent, readonly Kind[]>> = {
  webhook_url: ['webhook'],
  webhook_token: ['webhook'],
  webhook_header: ['webhook'],
  signing_secret: ['webhook'],
  base_url: ['openai'],
  api_key: ['openai'],
  idempotent: ['webhook', 'openai'],
}

/**
 * The columns as they are after `input` was merged into `before` (null for a new agent). Throws 422 that names every
 * field which the kind, the rules for outgoing addresses or the secrets refuse.
 */
export async function settleAgent(
  ctx: Context,
  id: string,
  before: AgentRow | null,
  input: UpdateAgent,
): Promise<Columns> {
  const kind = before?.kind ?? input.kind ?? (input.webhook_url === undefined ? 'echo' : 'webhook')
  const errors: FieldErrors = { ...wrongFields(kind, before, input) }
  const next: Columns = {
    name: input.name ?? before?.name ?? '',
    description: input.description === undefined ? (before?.description ?? null) : input.description,
    kind,
    system_prompt: input.system_prompt === undefined ? (before?.system_prompt ?? null) : input.system_prompt,
    config: input.config ?? before?.config ?? {},
    avatar: input.avatar === undefined ? (before?.avatar ?? null) : null,
    is_active: input.is_active ?? before?.is_active ?? true,
    webhook_url: input.webhook_url ?? before?.webhook_url ?? null,
    webhook_header:
      input.webhook_header === undefined ? (before?.webhook_header ?? null) : input.webhook_header,
    base_url: input.base_url ?? before?.base_url ?? (kind === 'openai' ? OPENAI : null),
    idempotent: input.idempotent ?? before?.idempotent ?? false,
    ...(await sealedSecrets(ctx, id, before, input)),
  }
  if (kind === 'webhook' && next.webhook_url === null)
    errors.webhook_url = 'must be given for a webhook agent'
  if (kind === 'openai' && !next.config.model)
    errors['config.model'] = 'must name the model of an openai agent'
  for (const name of ['webhook_url', 'base_url'] as const) {
    // Asked of what is sent: an agent whose address is no longer allowed can still be switched off.
    const refusal = input[name] === undefined || errors[name] ? null : await refusalOfUrl(ctx, input[name])
    if (refusal) errors[name] = refusal
  }
  Object.assign(errors, strayingSecrets(before, next))
  if (Object.keys(errors).length > 0) throw problem.invalid(errors)
  return next
}

const OPENAI = 'https://api.openai.com/v1'

function wrongFields(kind: Kind, before: AgentRow | null, input: UpdateAgent): FieldErrors {
  const errors: FieldErrors = {}
  if (before && input.kind !== undefined && input.kind !== kind)
    errors.kind = `must stay ${kind}; make another agent for another kind`
  for (const [name, kinds] of Object.entries(OF_KINDS)) {
    const value = input[name as keyof UpdateAgent]
    if (value !== undefined && value !== null && value !== false && !kinds.includes(kind))
      errors[name] = `is only for agents of the kind ${kinds.join(' or ')}`
  }
  for (const name of SECRETS)
    if (input[name] === MASK && !before?.[name])
      errors[name] = 'must be the secret itself, since none is kept'
  return errors
}

async function refusalOfUrl(ctx: Context, url: string): Promise<string | null> {
  const refusal = refusalOfTarget(url, ctx.settings)
  return refusal ?? refusalOfResolved(new URL(url).hostname, ctx.settings, (to, init) => fetch(to, init))
}

async function sealedSecrets(
  ctx: Context,
  id: string,
  before: AgentRow | null,
  input: UpdateAgent,
): Promise<Record<SecretName, string | null>> {
  const settle = async (name: SecretName) => {
    const sent = input[name]
    if (sent === undefined || sent === MASK) return before?.[name] ?? null
    return sent === null ? null : sealSecret(ctx, id, name, sent)
  }
  return {
    webhook_token: await settle('webhook_token'),
    signing_secret: await settle('signing_secret'),
    api_key: await settle('api_key'),
  }
}

/** A secret that nobody can read must not be led to another host by who does not know it. */
function strayingSecrets(before: AgentRow | null, next: Columns): FieldErrors {
  const errors: FieldErrors = {}
  for (const [url, secret] of [
    ['webhook_url', 'webhook_token'],
    ['base_url', 'api_key'],
  ] as const) {
    const kept = before?.[secret] && before[secret] === next[secret]
    if (kept && originOf(before[url]) !== originOf(next[url]))
      errors[secret] = `must be sent again (or as null), since ${url} leads to another host`
  }
  return errors
}

const originOf = (url: string | null) => (url !== null && URL.canParse(url) ? new URL(url).origin : null)
