import type { Context } from '../../../data/context'
import { type FieldErrors, problem } from '../../../lib/problem'
import { refusalOfUrl } from '../../../lib/safe-url'
import { CREDENTIALS, refusedCredentials } from './credentials'
import { refusedReferences } from './references'
import { MASK, type UpdateAgent } from './schema'
import { SECRETS, type SecretName, sealSecret } from './secrets'
import { isKept } from './sync/keeper'
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
  idempotent: ['webhook', 'openai', 'workers_ai'],
}

/** What an agent is where its maker said nothing. */
const NEW: Omit<Columns, 'kind'> = {
  name: '',
  description: null,
  system_prompt: null,
  config: {},
  avatar: null,
  avatar_bytes: 0,
  is_active: true,
  webhook_url: null,
  webhook_header: null,
  base_url: null,
  idempotent: false,
  webhook_token: null,
  signing_secret: null,
  api_key: null,
  voice_id: null,
  language: null,
  greeting: null,
  tools: [],
  knowledge_base_ids: [],
  provider_agent_id: null,
  sync_status: null,
  sync_error: null,
}

const OPENAI = 'https://api.openai.com/v1'

/** The kind that a new agent's body means: one with a webhook_url is a webhook's, as the chat guide writes it. */
export function kindMeant(input: UpdateAgent): Kind {
  return input.kind ?? (input.webhook_url === undefined ? 'echo' : 'webhook')
}

/**
 * The columns as they are after `input` was merged into `before` (null for a new agent). Throws 422 that names every
 * field which the kind, the rules for outgoing addresses or the secrets refuse; 409 where the service lacks what it needs.
 */
export async function settleAgent(
  ctx: Context,
  id: string,
  before: AgentRow | null,
  input: UpdateAgent,
): Promise<Columns> {
  const kind = before?.kind ?? kindMeant(input)
  const was: Columns = before ?? { ...NEW, kind, base_url: kind === 'openai' ? OPENAI : null }
  const next: Columns = {
    name: merged(input.name, was.name),
    description: merged(input.description, was.description),
    kind,
    system_prompt: merged(input.system_prompt, was.system_prompt),
    config: merged(input.config, was.config),
    avatar: merged(input.avatar, was.avatar),
    avatar_bytes: input.avatar === null ? 0 : was.avatar_bytes,
    is_active: merged(input.is_active, was.is_active),
    webhook_url: merged(input.webhook_url, was.webhook_url),
    webhook_header: merged(input.webhook_header, was.webhook_header),
    base_url: merged(input.base_url, was.base_url),
    idempotent: merged(input.idempotent, was.idempotent),
    ...(await sealedSecrets(ctx, id, was, input)),
    voice_id: merged(input.voice_id, was.voice_id),
    language: merged(input.language, was.language),
    greeting: merged(input.greeting, was.greeting),
    tools: merged(input.tools, was.tools),
    knowledge_base_ids: merged(input.knowledge_base_ids, was.knowledge_base_ids),
    provider_agent_id: was.provider_agent_id,
    sync_status: isKept({ kind }) ? 'pending' : null,
    sync_error: null,
  }
  const errors = {
    ...(await refusedUrls(ctx, input)),
    ...(await refusedReferences(ctx, was, next)),
    ...(await refusedCredentials(ctx, before, next, input)),
    ...strayingSecrets(was, next),
    ...wrongFields(kind, was, input),
  }
  if (kind === 'webhook' && next.webhook_url === null)
    errors.webhook_url = 'must be given for a webhook agent'
  if ((kind === 'openai' || kind === 'workers_ai') && !next.config.model)
    errors['config.model'] = `must name the model of an ${kind} agent`
  if (Object.keys(errors).length > 0) throw problem.invalid(errors)
  if (before === null && kind === 'workers_ai' && !ctx.env.AI)
    throw problem('workers_ai_not_bound', 'This service has no Workers AI')
  return next
}

const merged = <T>(sent: T | undefined, was: T): T => (sent === undefined ? was : sent)

function wrongFields(kind: Kind, was: Columns, input: UpdateAgent): FieldErrors {
  const errors: FieldErrors = {}
  if (input.kind !== undefined && input.kind !== kind)
    errors.kind = `must stay ${kind}; make another agent for another kind`
  for (const [name, kinds] of Object.entries(OF_KINDS)) {
    const value = input[name as keyof UpdateAgent]
    if (value !== undefined && value !== null && value !== false && !kinds.includes(kind))
      errors[name] = `is only for agents of the kind ${kinds.join(' or ')}`
  }
  for (const name of SECRETS)
    if (input[name] === MASK && was[name] === null)
      errors[name] = 'must be the secret itself, since none is kept'
  return errors
}

/** Asked of what is sent: an agent whose address is no longer allowed can still be switched off. */
async function refusedUrls(ctx: Context, input: UpdateAgent): Promise<FieldErrors> {
  const errors: FieldErrors = {}
  for (const name of ['webhook_url', 'base_url'] as const) {
    const url = input[name]
    if (url === undefined) continue
    const refusal = await refusalOfUrl(url, ctx.settings)
    if (refusal) errors[name] = refusal
  }
  return errors
}

async function sealedSecrets(
  ctx: Context,
  id: string,
  was: Columns,
  input: UpdateAgent,
): Promise<Record<SecretName, string | null>> {
  const settle = async (name: SecretName) => {
    const sent = input[name]
    if (sent === undefined || sent === MASK) return was[name]
    return sent === null ? null : sealSecret(ctx, id, name, sent)
  }
  return {
    webhook_token: await settle('webhook_token'),
    signing_secret: await settle('signing_secret'),
    api_key: await settle('api_key'),
  }
}

/** A secret that nobody can read must not be led to another host by who does not know it. */
function strayingSecrets(was: Columns, next: Columns): FieldErrors {
  const errors: FieldErrors = {}
  for (const { field: secret, url } of CREDENTIALS) {
    const kept = was[secret] !== null && was[secret] === next[secret]
    if (kept && originOf(was[url]) !== originOf(next[url]))
      errors[secret] = `must be sent again (or as null), since ${url} leads to another host`
  }
  return errors
}

const originOf = (url: string | null) => (url !== null && URL.canParse(url) ? new URL(url).origin : null)
