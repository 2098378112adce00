import type { Settings } from '../../../env'

/** What came of sending a batch: `refused` is about the batch, `away` about the pipeline, as far as its answer tells. */
export type Outcome =
  | { kind: 'taken' }
  | { kind: 'refused'; why: string }
  | { kind: 'away'; why: string; retry_after_ms: number; answered: boolean }

export type Sent = { tenant_id: string; batch_id: string; interactions: readonly object[] }

const PATIENCE_MS = 10_000
/** What the pipeline says of a batch that it refuses is worth keeping to this length. */
const MOST_SAID = 500
/** Nobody asks for a longer pause. */
const LONGEST_PAUSE_MS = 3600_000

/** Statuses that speak of what was sent; any other but 2xx, of the pipeline or of how it was asked. */
const OF_THE_BATCH = new Set([400, 409, 413, 422])

/** Sends a batch; never throws. Redirects are not followed: the token goes where the operator said. */
export async function postBatch(
  { DATA_PIPELINE_URL, DATA_PIPELINE_TOKEN }: Settings,
  traceparent: string,
  batch: Sent,
): Promise<Outcome> {
  try {
    const response = await fetch(`${DATA_PIPELINE_URL.replace(/\/$/, '')}/internal/pipeline/interactions`, {
      method: 'POST',
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'Causeway/1',
        traceparent,
        ...(DATA_PIPELINE_TOKEN === '' ? {} : { Authorization: `Bearer ${DATA_PIPELINE_TOKEN}` }),
      },
      body: JSON.stringify(batch),
    })
    return await outcomeOf(response)
  } catch (error) {
    return { kind: 'away', why: String(error).slice(0, MOST_SAID), retry_after_ms: 0, answered: false }
  }
}

async function outcomeOf(response: Response): Promise<Outcome> {
  const { status } = response
  if (OF_THE_BATCH.has(status))
    return { kind: 'refused', why: `${status} ${await beginning(response)}`.trim() }
  await response.body?.cancel()
  if (response.ok) return { kind: 'taken' }
  const asked = pauseOf(response.headers.get('Retry-After'))
  return { kind: 'away', why: `answered ${status}`, retry_after_ms: asked, answered: true }
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
function pauseOf(header: string | null): number {
  if (header === null) return 0
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), LONGEST_PAUSE_MS) : 0
}

async function beginning(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  while (reader && text.length < MOST_SAID) {
    const { done, value } = await reader.read()
    if (done) return text
    text += decoder.decode(value, { stream: true })
  }
  await reader?.cancel()
  return text.slice(0, MOST_SAID)
}
