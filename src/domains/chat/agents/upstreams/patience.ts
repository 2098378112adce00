import type { Limits } from './limits'
import { UpstreamFailure } from './upstream'

/** Waits for the network, but neither longer than the limits nor longer than the run. */
export class Patience {
  private readonly end: number

  constructor(
    private readonly limits: Limits,
    private readonly signal: AbortSignal,
  ) {
    this.end = Date.now() + limits.total_ms
  }

  async until<T>(work: Promise<T>, failure: (cause: unknown) => UpstreamFailure): Promise<T> {
    const { promise: given, reject } = Promise.withResolvers<never>()
    const left = this.end - Date.now()
    const overall = left < this.limits.stall_ms
    const timer = setTimeout(
      () => reject(overall ? endless(this.limits) : stalled(this.limits)),
      Math.max(0, overall ? left : this.limits.stall_ms),
    )
    const stop = () => reject(this.signal.reason)
    this.signal.addEventListener('abort', stop)
    if (this.signal.aborted) stop()
    try {
      return await Promise.race([work.catch((cause) => Promise.reject(failure(cause))), given])
    } finally {
      clearTimeout(timer)
      this.signal.removeEventListener('abort', stop)
    }
  }
}

const stalled = ({ stall_ms }: Limits) =>
  new UpstreamFailure('upstream_stalled', `The agent sent nothing for ${stall_ms / 1000} seconds`, true)

const endless = ({ total_ms }: Limits) =>
  new UpstreamFailure(
    'upstream_stalled',
    `The agent’s answer did not end within ${total_ms / 60_000} minutes`,
    false,
  )
