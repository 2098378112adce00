import type { Bindings } from '../../../env'
import { tenantLimiter } from '../isolate'
import type { Defer } from '../limits/ports'
import { USERS } from './line'

/** The route of an answer that goes on, and who asked for it. */
export type Streamed = { kind: string; id: string; method: string; endpoint: string; status: number }

/** Counts bytes that were sent, or received, on an answer that goes on. */
export type CountBytes = (sent: number, received?: number) => void

/**
 * Counts the bytes of a stream or socket among those of its tenant's requests, as they pass: whoever holds it calls what
 * this returns. The request itself was counted when it was answered.
 */
export function streamMeter(
  env: Bindings,
  tenantId: string,
  { kind, id, method, endpoint, status }: Streamed,
  defer: Defer,
): CountBytes {
  const caller = kind === 'api_key' ? id : USERS
  return (response_size_bytes, request_size_bytes = 0) =>
    tenantLimiter(env, tenantId).measureBytes(
      { at: Date.now(), caller, method, endpoint, status, request_size_bytes, response_size_bytes },
      defer,
    )
}
