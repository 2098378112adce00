import type { Limits } from './limits'
import { type AnsweringAgent, type UpstreamEvent, UpstreamFailure, type UpstreamRequest } from './upstream'

/**
 * Repeats a call that failed before it said anything, where the agent is `idempotent`: a request that was sent may have
 * been acted on, so others are asked once.
 */
export async function* repeating(
  agent: Pick<AnsweringAgent, 'idempotent'>,
  limits: Limits,
  { signal, callback }: Pick<UpstreamRequest, 'signal' | 'callback'>,
  call: () => AsyncIterable<UpstreamEvent>,
): AsyncGenerator<UpstreamEvent> {
  for (let attempt = 0; ; attempt++) {
    let said = false
    try {
      for await (const event of call()) {
        if (event.kind !== 'status') said = true
        yield event
      }
      return
    } catch (error) {
      const pause = limits.pauses_ms[attempt]
      if (!agent.idempotent || said || callback?.handedOver || pause === undefined || !mayPass(error))
        throw error
      yield { kind: 'status', description: `${error.message}; trying again`, level: 'warning' }
      await sleep(pause, signal)
    }
  }
}

/** What a moment may mend. An agent that was silent for the whole of its time is not asked for as long again. */
const mayPass = (error: unknown): error is UpstreamFailure =>
  error instanceof UpstreamFailure && error.retryable && error.code !== 'upstream_stalled'

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  const stop = () => reject(signal.reason)
  signal.addEventListener('abort', stop)
  try {
    await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}
