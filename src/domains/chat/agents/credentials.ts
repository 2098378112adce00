import type { Context } from '../../../data/context'
import type { FieldErrors } from '../../../lib/problem'
import { namesIn } from '../../secrets/template'
import { refusedTemplates } from '../../webhooks/endpoints/header-secrets'
import { MASK, type UpdateAgent } from './schema'
import { openSecrets } from './secrets'
import type { AgentRow } from './table'

// `{{secrets.name}}` in what an agent is asked with. It is checked when it is saved, and again whenever the agent is asked,
// since a secret is replaced and deleted without the agent.

/** The credentials, each with the URL that it goes to. */
export const CREDENTIALS = [
  { field: 'webhook_token', url: 'webhook_url' },
  { field: 'api_key', url: 'base_url' },
] as const

/**
 * Each credential that is sent with a secret which is not there, or may not go to its URL, where either is new; 403 for who
 * may not use one.
 */
export async function refusedCredentials(
  ctx: Context,
  before: AgentRow | null,
  next: Pick<AgentRow, 'webhook_url' | 'base_url'>,
  input: UpdateAgent,
): Promise<FieldErrors> {
  const errors: FieldErrors = {}
  for (const { field, url } of CREDENTIALS) {
    const [sent, target] = [input[field], next[url]]
    if (sent === null || target === null || !URL.canParse(target)) continue
    const kept = sent === undefined || sent === MASK
    const moved = before !== null && before[url] !== target
    const value = !kept ? sent : moved ? (await openSecrets(ctx, before))[field] : null
    if (value !== null && namesIn(value).length > 0)
      Object.assign(errors, await refusedTemplates(ctx, target, { [field]: value }))
  }
  return errors
}
