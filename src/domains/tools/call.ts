import type { Context } from '../../data/context'
import { echoesOf } from '../../lib/echo'
import { answeredValue, answerTo, type Outgoing, Unanswered } from '../../lib/outgoing'
import { openedFor } from '../secrets/sent'
import { fill, namesIn } from '../secrets/template'
import type { ToolResult } from './schema'
import type { ToolRow } from './table'
import { asPairs, filled, placesIn, sampleOf, Unfit } from './url'

/** How long a tool may take, its answer’s body included. */
const TIMEOUT_MS = 10_000
const FORM = /^application\/x-www-form-urlencoded\b/i

export type Calling = {
  /** The same for what is the same call: receivers may know it again by this. */
  key: string
  traceparent?: string
  signal?: AbortSignal
}

/**
 * Calls a tool with arguments that its schema allows. What goes wrong is a result like any other; none of it names a
 * secret. Throws the signal’s reason once it is broken off.
 */
export async function callTool(
  ctx: Context,
  tool: ToolRow,
  args: Record<string, unknown>,
  { key, traceparent = ctx.traceparent, signal }: Calling,
): Promise<ToolResult> {
  const started = Date.now()
  const result = (some: Partial<ToolResult>): ToolResult => ({
    ...{ ok: false, status: null, output: null, error: null, ...some },
    duration_ms: Date.now() - started,
  })
  try {
    const request = await requestOf(ctx, tool, args)
    request.headers.set('Idempotency-Key', key)
    request.headers.set('traceparent', traceparent)
    const answer = await answerTo({ ...request, ...(signal ? { signal } : {}) }, ctx.settings)
    return result({ ok: true, status: answer.status, output: answeredValue(answer, request.echoes) })
  } catch (error) {
    if (error instanceof Unfit) return result({ error: error.message })
    if (!(error instanceof Unanswered)) throw error
    return result({ status: error.answer?.status ?? null, error: error.message })
  }
}

async function requestOf(ctx: Context, tool: ToolRow, args: Record<string, unknown>): Promise<Outgoing> {
  const { method } = tool
  const places = placesIn(tool.url)
  const rest = Object.fromEntries(Object.entries(args).filter(([name]) => !places.includes(name)))
  const { headers, echoes } = await headersOf(ctx, tool)
  const url = filled(tool.url, args)
  const common = { method, headers, echoes, timeout_ms: TIMEOUT_MS }
  if (method === 'GET' || method === 'DELETE') {
    const query = asPairs(rest)
    const joined = query === '' ? url : `${url}${url.includes('?') ? '&' : '?'}${query}`
    return { ...common, url: joined, body: null }
  }
  if (!headers.has('Content-Type')) headers.set('Content-Type', 'application/json')
  const isForm = FORM.test(headers.get('Content-Type') ?? '')
  return { ...common, url, body: isForm ? asPairs(rest) : JSON.stringify(rest) }
}

async function headersOf(ctx: Context, tool: ToolRow): Promise<{ headers: Headers; echoes: string[] }> {
  const { hostname } = new URL(sampleOf(tool.url))
  const names = [...new Set(Object.values(tool.headers).flatMap(namesIn))]
  const { secrets, refusal } = await openedFor(ctx, names, hostname)
  if (secrets === null) throw new Unanswered(`a header ${refusal}`)
  const headers = new Headers({ Accept: 'application/json, */*;q=0.8', 'User-Agent': 'Causeway-Tools/1' })
  for (const [name, template] of Object.entries(tool.headers))
    headers.set(
      name,
      fill(template, (secret) => secrets[secret] ?? ''),
    )
  return { headers, echoes: echoesOf(Object.values(secrets)) }
}
