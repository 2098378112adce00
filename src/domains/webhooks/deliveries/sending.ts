import type { Context } from '../../../data/context'
import type { Settings } from '../../../env'
import { iso } from '../../../lib/ids'
import { wireBody } from '../../events/payload'
import { fillTemplates, templatesOf } from '../endpoints/header-secrets'
import { maskHeaders, openHeaders } from '../endpoints/headers'
import { openFor } from '../endpoints/secret'
import type { EndpointRow } from '../endpoints/table'
import { type Signer, signersOf } from '../signing-keys/service'
import { type Made, makeAttempt } from './attempt'

/** An endpoint with its secrets opened, as attempts need it; it never leaves the process. */
export type Target = {
  url: string
  payload: 'event' | 'data'
  headers: Record<string, string>
  masked: Record<string, string>
  /** Those of the headers that use the tenant's secrets, as they were written. */
  templates: Record<string, string>
  /** What stands for them in the headers. */
  values: string[]
  /** Why nothing can be sent, as the attempt's error. */
  refusal: string | null
  secrets: { plain: string; expires_at: string | null }[]
  signers: Signer[]
  profile: EndpointRow['signature_profile']
  timeout_ms: number
}

/** Opens what is sealed in an endpoint's row. */
export async function targetOf(ctx: Context, row: EndpointRow): Promise<Target> {
  const secrets = await Promise.all(
    row.secrets.map(async ({ sealed, expires_at }) => ({
      plain: await openFor(ctx, row.id, sealed),
      expires_at,
    })),
  )
  const headers = await openHeaders(ctx, row.id, row.headers)
  const { url, payload, timeout_ms, signature_profile: profile } = row
  const masked = maskHeaders(row.headers)
  const templates = templatesOf(row.headers)
  const opened = { url, payload, headers, masked, templates, secrets, profile, timeout_ms }
  return asOfNow(ctx, { ...opened, values: [], refusal: null, signers: [] })
}

/** A target that was opened before, with the tenant's keys and secrets as they are now: they change without the endpoint. */
export async function asOfNow(ctx: Context, target: Target): Promise<Target> {
  const { headers, ...filled } = await fillTemplates(ctx, target.url, target.templates)
  const signers = await signersOf(ctx)
  return { ...target, headers: { ...target.headers, ...headers }, ...filled, signers }
}

/** What is sent: an event, with the text of its data as it was printed at acceptance. */
export type Message = {
  event_id: string
  event_type: string
  tenant_id: string
  timestamp: string
  data: string
  trace_id: string | null
}

/** Makes attempt `number` of sending `message` to `target`, which begins now, at `begins`; never throws. */
export function send(
  settings: Settings,
  target: Target,
  message: Message,
  { number, begins }: { number: number; begins: number },
): Promise<Made> {
  const { event_id, event_type, tenant_id, timestamp, data, trace_id } = message
  return makeAttempt(
    {
      url: target.url,
      headers: target.headers,
      masked: target.masked,
      values: target.values,
      refusal: target.refusal,
      secrets: target.secrets
        .filter(({ expires_at }) => expires_at === null || expires_at > iso(begins))
        .map(({ plain }) => plain),
      signers: target.signers.filter(({ until }) => until === null || until > begins).map(({ key }) => key),
      profile: target.profile,
      timeout_ms: target.timeout_ms,
      event_id,
      body: wireBody({ id: event_id, type: event_type, tenant_id, timestamp, data }, target.payload),
      number,
      begins,
      trace_id,
    },
    settings,
  )
}
