import { type Problem, problem } from './problem'

/** Storage failed: the same may go well the next time. */
export const storageFailed = (cause: unknown): Problem =>
  problem('service_unavailable', 'Storage failed; nothing is lost, send the request again', { cause })

/** What storage answers; 503 where it fails, whatever it says. */
export const fromStorage = <T>(work: Promise<T>): Promise<T> =>
  work.catch((cause: unknown) => {
    throw storageFailed(cause)
  })
