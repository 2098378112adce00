import type { Context as HonoContext } from 'hono'
import type { Context, Principal, RequestContext, Tenant } from '../../../data/context'
import { contextFor } from '../../../data/system'
import { answerWith } from '../../../http/answer-headers'
import type { AppEnv } from '../../../http/app-env'
import { readBytes } from '../../../http/body'
import { Problem } from '../../../lib/problem'
import { keepAnswer } from '../../metering/idempotency/service'
import { admitSource, countRefused } from '../../metering/limits/sources'
import type { Incoming } from './proof'
import { keepRefusal, type Refusal } from './refusals'
import type { SourceKind } from './table'

// What the routes of providers and of tenants' own sources have in common.

const SYSTEM: Principal = { kind: 'system', id: 'incoming', scopes: new Set() }

/** The context of what a source sent: nobody's credential, its tenant's rows. */
export const contextOf = (request: RequestContext, tenant: Tenant): Context =>
  contextFor(request, tenant, SYSTEM)

/** The request as its sender signed it: the bytes, and the URLs that it may have been sent to. */
export async function incomingOf(c: HonoContext<AppEnv>): Promise<Incoming> {
  const { settings, now } = c.get('request')
  const { pathname, search } = new URL(c.req.url)
  const urls = [...new Set([`${settings.PUBLIC_URL}${pathname}${search}`, c.req.url])]
  return { body: await readBytes(c), headers: c.req.raw.headers, urls, now }
}

/** Does what may refuse a webhook; a refusal is counted, and kept in the log of its source. */
export async function heeding<T>(
  c: HonoContext<AppEnv>,
  ctx: Context,
  source: string,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    await heed(c, ctx, source, error)
    throw error
  }
}

/** Counts a refusal and keeps it in the log of its source; 429 `rate_limited` where there were too many. */
export async function heed(
  c: HonoContext<AppEnv>,
  ctx: Context,
  source: string,
  error: unknown,
): Promise<void> {
  // Who is told that the first one is still at work has lost nothing.
  const isRefusal = error instanceof Problem && error.status < 500 && error.code !== 'idempotency_in_progress'
  if (!isRefusal) return
  // Where there were too many, the answer says that instead, and the log is spared.
  await countRefused(c, source)
  await keepRefusal(ctx, source, error, announcedBy(c))
}

/** Counts a webhook that its source did send; 429 `rate_limited`, of which the first in a minute is in its log. */
export async function counting(
  c: HonoContext<AppEnv>,
  ctx: Context,
  source: string,
  perMinute: number | null,
): Promise<void> {
  try {
    await admitSource(c, source, perMinute)
  } catch (error) {
    if (error instanceof Problem && isFirstInMinute(source, ctx.now))
      await keepRefusal(ctx, source, error, announcedBy(c))
    throw error
  }
}

/** When it was last put in a source's log that there were too many. */
const told = new Map<string, number>()
const MOST_TOLD = 1_000

function isFirstInMinute(source: string, now: number): boolean {
  if (now - (told.get(source) ?? Number.NEGATIVE_INFINITY) < 60_000) return false
  if (told.size >= MOST_TOLD) told.clear()
  told.set(source, now)
  return true
}

function announcedBy(c: HonoContext<AppEnv>): Refusal {
  const { headers } = c.req.raw
  const size = headers.get('Content-Length')
  return { size_bytes: size === null ? null : Number(size), content_type: headers.get('Content-Type') }
}

/**
 * The answer to what a source of that kind sent, where it is no receipt: Twilio takes JSON for an error in the
 * instructions that it expects, Slack for an answer to a command or a view.
 */
export function answerOtherwise(c: HonoContext<AppEnv>, kind: SourceKind): Response | null {
  if (kind === 'twilio')
    return answerWith(c, 200, '<Response/>', { 'Content-Type': 'text/xml; charset=UTF-8' })
  if (kind === 'slack') return answerWith(c, 200, '', { 'Content-Type': 'text/plain; charset=UTF-8' })
  return null
}

/** Slack's challenge, as it came; a key stands for it as for a receipt. */
export async function answerChallenge(c: HonoContext<AppEnv>, challenge: string): Promise<Response> {
  const headers = { 'Content-Type': 'text/plain; charset=UTF-8' }
  const { idempotency } = c.get('request')
  if (idempotency)
    await keepAnswer(c.get('request'), idempotency, { status: 200, headers, body: challenge, secret: false })
  return answerWith(c, 200, challenge, headers)
}
