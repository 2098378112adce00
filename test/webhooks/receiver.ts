import { env } from 'cloudflare:workers'
import type { Seen, Step } from '../receiver/hooks'

/** A receiver of one's own beside the tests; `steps` say what it does with each request, the last one for ever. */
export async function makeReceiver(...steps: Step[]) {
  const key = crypto.randomUUID()
  const at = (path: string) => `${env.RECEIVER_URL}/hook/${path}?key=${key}`
  const plan = (...next: Step[]) => fetch(at('plan'), { method: 'POST', body: JSON.stringify(next) })
  const seen = async () => (await (await fetch(at('seen'))).json()) as Seen[]
  await plan(...steps)
  return { url: at('to'), plan, seen }
}

/** Asks until `found` answers with something, at most for `ms`. */
export async function eventually<T>(
  look: () => Promise<T | null | undefined | false>,
  ms = 20_000,
): Promise<T> {
  const until = Date.now() + ms
  // Ever more seldom: what takes long is not to use up the limits of who asks.
  for (let wait = 10; ; wait = Math.min(wait * 1.3, 250)) {
    const value = await look()
    if (value) return value
    if (Date.now() > until) throw new Error('it did not happen in time')
    await new Promise((resolve) => setTimeout(resolve, wait))
  }
}
