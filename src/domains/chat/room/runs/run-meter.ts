import { withinLimit } from '../../../../data/metrics'
import { meterOf } from '../../../../data/objects'
import type { Bindings } from '../../../../env'
import { oneAnswer } from '../../../metering/usage/answers'
import { USERS, type UsageLine } from '../../../metering/usage/line'
import type { Caller } from '../caller'
import type { Conversation, RunRow } from '../log/conversation'
import { STREAMS } from '../readers/passed'

/** The Meter is not waited for any longer; what it was not told is told again. */
const PATIENCE_MS = 5_000

/** Whom usage counts an answer under: the key that asked, or all users together. */
export const billedTo = ({ kind, id }: Caller): string => (kind === 'api_key' ? id : USERS)

/**
 * Tells the tenant’s Meter what each answer cost that has ended, in their order. It takes each once: a chat’s reports are
 * numbered by where the answers end in its log. Rejects where the Meter does not answer.
 */
export async function meterRuns(
  env: Bindings,
  name: string,
  tenantId: string,
  conversation: Conversation,
): Promise<void> {
  for (let run = conversation.unmetered(); run; run = conversation.unmetered()) {
    const report = { sequence: run.last_seq ?? 0, lines: [lineOf(run)], samples: [] }
    const told = meterOf(env, tenantId).then((meter) => meter.takeUsage(name, report))
    await withinLimit(told, PATIENCE_MS)
    conversation.metered(run.id)
  }
}

function lineOf({ usage, ended_at, started_at, billed_to }: RunRow): UsageLine {
  const { method, endpoint, status } = STREAMS.messages
  const at = ended_at ?? started_at
  return {
    ...{ minute: Math.floor(at / 60_000), caller: billed_to ?? USERS, method, endpoint, status },
    ...{ requests: 0, request_size_bytes: 0, response_size_bytes: 0, latency: {}, last_at: 0 },
    answers: oneAnswer(usage),
  }
}
