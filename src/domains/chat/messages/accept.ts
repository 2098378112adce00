/** How a caller wants the answer to a message: streamed, waited for, or only begun. */
export type Wanted = 'stream' | 'exchange' | 'started'

/** By `Prefer: respond-async` (RFC 7240), else by whether `Accept` prefers JSON to an event stream (RFC 9110, 12.5.1). */
export function wantedAnswer(headers: Headers): Wanted {
  const prefer = (headers.get('Prefer') ?? '').toLowerCase().split(/[,;]/)
  if (prefer.some((word) => word.trim() === 'respond-async')) return 'started'
  const accept = rangesOf(headers.get('Accept') ?? '')
  const json = weightOf(accept, 'application', 'json')
  const stream = weightOf(accept, 'text', 'event-stream')
  const prefersJson = json.q > stream.q || (json.q === stream.q && json.specific > stream.specific)
  return json.q > 0 && prefersJson ? 'exchange' : 'stream'
}

type Range = { type: string; subtype: string; q: number }

function rangesOf(accept: string): Range[] {
  return accept.split(',').flatMap((part) => {
    const [range = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase())
    const [type = '', subtype = ''] = range.split('/')
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
    const weight = q === undefined ? 1 : Number(q)
    return type && subtype ? [{ type, subtype, q: Number.isFinite(weight) ? weight : 0 }] : []
  })
}

/** The weight by the most specific range that matches; nothing named at all matches everything. */
function weightOf(ranges: Range[], type: string, subtype: string): { q: number; specific: number } {
  if (ranges.length === 0) return { q: 1, specific: 0 }
  let best = { q: 0, specific: -1 }
  for (const range of ranges) {
    const specific =
      range.type === '*'
        ? 0
        : range.type !== type
          ? -1
          : range.subtype === '*'
            ? 1
            : range.subtype === subtype
              ? 2
              : -1
    if (specific > best.specific) best = { q: range.q, specific }
  }
  return best
}
