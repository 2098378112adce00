import type { Context } from '../../../data/context'
import { withinLimit } from '../../../data/metrics'
import { meterOf } from '../../../data/objects'
import { describeError, log } from '../../../lib/log'
import type { UpstreamEvent } from '../../chat/agents/upstreams/upstream'
import { type AnswerCost, oneAnswer } from '../../metering/usage/answers'
import { PUBLIC } from '../../metering/usage/line'
import type { Visit } from './performed'

/** The Meter is not waited for any longer. */
const PATIENCE_MS = 5_000
/** The route that the answers of runs' agents are counted beside. */
const ROUTE = { method: 'POST', endpoint: '/api/v1/workflows/:id/start', status: 202 }

/** What an answer costs, as it goes on. */
export class Cost {
  private readonly began = Date.now()
  private first: number | null = null
  private prompt: number | null = null
  private completion: number | null = null

  take(event: UpstreamEvent): void {
    if (event.kind === 'delta') this.first ??= Date.now() - this.began
    if (event.kind !== 'usage') return
    this.prompt = event.prompt_tokens ?? this.prompt
    this.completion = event.completion_tokens ?? this.completion
  }

  get answer(): AnswerCost {
    return {
      ...{ prompt_tokens: this.prompt, completion_tokens: this.completion },
      ...{ time_to_first_token_ms: this.first, duration_ms: Date.now() - this.began },
    }
  }
}

/** Has usage count an answer. The Meter takes each once: a run's are numbered by its steps, however often one is repeated. */
export async function tellMeter({ env, tenant }: Context, visit: Visit, cost: Cost): Promise<void> {
  const line = {
    ...{ minute: Math.floor(Date.now() / 60_000), caller: PUBLIC, ...ROUTE },
    ...{ requests: 0, request_size_bytes: 0, response_size_bytes: 0, latency: {}, last_at: 0 },
    answers: oneAnswer(cost.answer),
  }
  const report = { sequence: visit.number, lines: [line], samples: [] }
  try {
    const told = meterOf(env, tenant.id).then((meter) => meter.takeUsage(`workflows/${visit.run_id}`, report))
    await withinLimit(told, PATIENCE_MS)
  } catch (error) {
    log.warn('workflow_answer_not_counted', {
      tenant_id: tenant.id,
      run_id: visit.run_id,
      cause: describeError(error),
    })
  }
}
