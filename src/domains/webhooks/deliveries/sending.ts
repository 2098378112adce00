import type { Context } from '../../../data/context'
import type { Settings } from '../../../env'
import { iso } from '../../../lib/ids'
import { wireBody } from '../../events/payload'
import { maskHeaders, openHeaders } from '../endpoints/headers'
import { openFor } from '../endpoints/secret'
import type { EndpointRow } from '../endpoints/table'
import { type Made, makeAttempt } from './attempt'

/** An endpoint with its secrets opened, as attempts need it; it never leaves the process. */
export type Target = {
  url: string
  payload: 'event' | 'data'
  headers: Record<string, string>
  masked: Record<string, string>
  secrets: { plain: string; expires_at: string | null }[]
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
  const { url, payload, timeout_ms } = row
  return { url, payload, headers, masked: maskHeaders(row.headers), secrets, timeout_ms }
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

/** Makes attempt `number` of sending `message` to `target`; never throws. */
export function send(settings: Settings, target: Target, message: Message, number: number): Promise<Made> {
  const { event_id, event_type, tenant_id, timestamp, data, trace_id } = message
  const now = iso(Date.now())
  return makeAttempt(
    {
      url: target.url,
      headers: target.headers,
      masked: target.masked,
      secrets: target.secrets
        .filter(({ expires_at }) => expires_at === null || expires_at > now)
        .map(({ plain }) => plain),
      timeout_ms: target.timeout_ms,
      event_id,
      body: wireBody({ id: event_id, type: event_type, tenant_id, timestamp, data }, target.payload),
      number,
      trace_id,
    },
    settings,
  )
}
