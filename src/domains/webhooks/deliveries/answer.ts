// What is read of a receiver's answer, and what of that the log keeps.

/** How much of an answer is read; what follows is abandoned. */
const MOST_READ = 64 * 1024
/** How much of an answer's body, and of its headers, the log keeps. */
const MOST_KEPT = 16 * 1024

export type Answer = {
  status: number | null
  headers: Headers | null
  body: string | null
  error: string | null
}

export const NOTHING: Answer = { status: null, headers: null, body: null, error: null }

/** Reads up to MOST_READ bytes, and tells after each piece what the log keeps of them. */
export async function readBody(response: Response, keep: (text: string) => void): Promise<void> {
  if (!response.body) return
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let size = 0, kept = 0; size < MOST_READ; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    // A character that the limit cuts in two stays out: the decoder waits for its rest.
    if (kept < MOST_KEPT) text += decoder.decode(value.subarray(0, MOST_KEPT - kept), { stream: true })
    kept += value.byteLength
    keep(text)
  }
}

/** What is wrong with a status, a word and an explanation; null for a delivery. */
export function errorOf(status: number): string | null {
  if (status >= 200 && status < 300) return null
  if (status >= 300 && status < 400) return `redirect: answered ${status}, which is not followed`
  if (status === 410) return 'gone: answered 410'
  // Cloudflare answers these itself where the receiver did not.
  if ((status >= 520 && status <= 527) || status === 530)
    return `network: the receiver’s edge answered ${status}`
  return `status: answered ${status}`
}

/** The headers that the log keeps, the shortest first: what is longer than the room that they leave is cut. */
export function keptHeaders(headers: Headers): Record<string, string> {
  const values = new Map<string, string>()
  // Only Set-Cookie comes more than once.
  for (const [name, value] of headers) {
    const before = values.get(name)
    values.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  const kept: [string, string][] = []
  let room = MOST_KEPT
  for (const [name, value] of [...values].sort(([, a], [, b]) => a.length - b.length)) {
    room -= name.length
    if (room <= 0) break
    kept.push([name, value.slice(0, room)])
    room -= Math.min(room, value.length)
  }
  return Object.fromEntries(kept)
}

/**
 * `Retry-After` as seconds. A date is told by the receiver's clock, which its `Date` shows: how long it asks for does not
 * depend on whose clock is wrong.
 */
export function retryAfterOf(headers: Headers): string | null {
  const asked = headers.get('retry-after')
  const [until, now] = [Date.parse(asked ?? ''), Date.parse(headers.get('date') ?? '')]
  if (asked === null || !/ GMT$/.test(asked.trim()) || Number.isNaN(until) || Number.isNaN(now)) return asked
  return String(Math.max(0, Math.ceil((until - now) / 1000)))
}
