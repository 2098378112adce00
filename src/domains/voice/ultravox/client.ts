import * as z from 'zod'
import { problem } from '../../../lib/problem'
import { type Asking, answerIfAny, answerOf, answerTo } from '../answer'

// Ultravox’s REST API, so far as agents and calls need it (docs.ultravox.ai/api-reference).

/** How long something lasts, as Ultravox writes it. */
export const seconds = (count: number): string => `${count}s`

const Call = z.object({
  callId: z.string(),
  joinUrl: z.string().nullish(),
  created: z.string(),
  joined: z.string().nullish(),
  ended: z.string().nullish(),
  endReason: z.string().nullish(),
})
/** A call as Ultravox has it: somebody joins it, and it ends. */
export type UltravoxCall = z.output<typeof Call>
/** The same in a webhook. */
export const HeardCall = z.object({ call: Call })

const Agent = z.object({ agentId: z.string(), name: z.string().nullish() })

const Span = z.object({ start: z.string(), end: z.string() }).partial()
const Message = z.object({
  role: z.string(),
  text: z.string().nullish(),
  timespan: Span.nullish(),
  wallClockTimespan: Span.nullish(),
})
/** What was said in a call, or done. */
export type UltravoxMessage = z.output<typeof Message>

const page = <T extends z.ZodType>(item: T) =>
  z.object({ results: z.array(item), next: z.string().nullish() })
const Agents = page(Agent)
const Calls = page(Call)
const Messages = page(Message)

const PAGE = 100
/** So many pages of one call’s messages are read: an hour’s talk has some hundreds of messages. */
const MOST_PAGES = 20

export type AgentBody = { name: string; callTemplate: Record<string, unknown> }

/** Makes an agent; its id there. Asked once: where the answer is lost, whoever asks again looks for it first. */
export const createAgent = async (at: Asking, json: AgentBody): Promise<string> =>
  (await answerOf(at, { ...sending(at, 'POST', '/api/agents', json), once: true }, Agent)).agentId

/** Has an agent be like this from now on; false where there is none of that id. */
export const updateAgent = async (at: Asking, id: string, json: AgentBody): Promise<boolean> =>
  (await answerIfAny(at, sending(at, 'PATCH', agentPath(id), json), Agent)) !== null

/** Deletes an agent; harmless where there is none of that id. */
export async function deleteAgent(at: Asking, id: string): Promise<void> {
  await answerTo(at, { ...request(at, agentPath(id)), method: 'DELETE', meant: [404] })
}

/** The id of the agent whose name ends like this; null where none does. */
export async function agentNamed(at: Asking, end: string): Promise<string | null> {
  const query = new URLSearchParams({ search: end, pageSize: `${PAGE}` })
  const { results } = await answerOf(at, request(at, `/api/agents?${query}`), Agents)
  return results.find(({ name }) => name?.endsWith(end))?.agentId ?? null
}

/** Has an agent make a call, which somebody has to join. */
export const startCall = (at: Asking, agentId: string, json: Record<string, unknown>) =>
  answerIfAny(at, sending(at, 'POST', `${agentPath(agentId)}/calls`, json), Call)

/** The calls that were started with this in their metadata, the latest first. */
export async function callsWith(at: Asking, name: string, value: string): Promise<UltravoxCall[]> {
  const query = new URLSearchParams({ [`metadata.${name}`]: value, pageSize: `${PAGE}` })
  return (await answerOf(at, request(at, `/api/calls?${query}`), Calls)).results
}

/** A call; null where it is not known (any more). */
export const getCall = (at: Asking, id: string): Promise<UltravoxCall | null> =>
  answerIfAny(at, request(at, callPath(id)), Call)

/** All that was said and done in a call, in its order. */
export async function messagesOf(at: Asking, id: string): Promise<UltravoxMessage[]> {
  const all: UltravoxMessage[] = []
  let cursor: string | null = null
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const query = new URLSearchParams({ mode: 'in_call', pageSize: `${PAGE}`, ...(cursor ? { cursor } : {}) })
    const one = request(at, `${callPath(id)}/messages?${query}`)
    const found: z.output<typeof Messages> | null = await answerIfAny(at, one, Messages)
    all.push(...(found?.results ?? []))
    // The URL of the next page names a host, which need not be the one that is asked.
    cursor = found?.next ? new URL(found.next, 'https://next.invalid').searchParams.get('cursor') : null
    if (cursor === null) break
  }
  return all
}

/**
 * Where a call’s recording is, or its bytes; null where there is none. Where it is, is said by a URL that is signed and is
 * asked without the key.
 */
export async function recordingOf(
  at: Asking,
  id: string,
  most: number,
): Promise<{ url: string } | { bytes: Uint8Array<ArrayBuffer>; type: string } | null> {
  const { account } = at
  const { status, headers, bytes } = await answerTo(at, {
    ...request(at, `${callPath(id)}/recording`),
    ...{ as: 'bytes', most, meant: [301, 302, 303, 307, 404] },
  })
  if (status === 404) return null
  const location = headers.get('Location')
  if (status < 300) return { bytes, type: headers.get('Content-Type') ?? 'audio/wav' }
  if (location) return { url: new URL(location, account.base_url).href }
  throw problem('provider_failed', `The provider ${account.name} answered ${status} without a Location`, {
    details: { provider: account.name, status, said: null },
  })
}

const agentPath = (id: string) => `/api/agents/${encodeURIComponent(id)}`
const callPath = (id: string) => `/api/calls/${encodeURIComponent(id)}`

const request = ({ account }: Asking, path: string) => ({ path, headers: { 'X-API-Key': account.api_key } })
const sending = (at: Asking, method: 'POST' | 'PATCH', path: string, json: unknown) => ({
  ...request(at, path),
  method,
  json,
})
