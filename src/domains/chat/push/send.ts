import type { Settings } from '../../../env'
import { fromBase64url, utf8 } from '../../../lib/encoding'
import { log } from '../../../lib/log'
import { refusalOfUrl } from '../../../lib/safe-url'
import { encrypted } from './encrypt'
import { authorization } from './vapid'

/** A browser as its subscription names it. */
export type Target = { endpoint: string; p256dh: string; auth: string }

/** What a message is: one that has the topic of another that waits takes its place (RFC 8030, 5.4). */
export type Message = { text: string; topic: string }

/** What became of a message: `gone` is a browser that wants none any more, `later` is worth another attempt. */
export type Outcome = 'sent' | 'gone' | 'later' | 'refused'

/** How long a push service keeps a message for a browser that is not there. */
const TTL_S = 24 * 60 * 60
const TIMEOUT_MS = 10_000

/** Hands a message to a browser’s push service; never rejects. */
export async function push(settings: Settings, target: Target, message: Message): Promise<Outcome> {
  const { origin } = new URL(target.endpoint)
  try {
    const refusal = await refusalOfUrl(target.endpoint, settings)
    if (refusal !== null) return said('refused', origin, refusal)
    const keys = { p256dh: fromBase64url(target.p256dh), auth: fromBase64url(target.auth) }
    if (!keys.p256dh || !keys.auth) return said('gone', origin, 'its keys are none')
    const body = await encrypted(utf8(message.text), { p256dh: keys.p256dh, auth: keys.auth })
    const response = await fetch(target.endpoint, {
      method: 'POST',
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        Authorization: await authorization(settings, origin, Date.now()),
        'Content-Type': 'application/octet-stream',
        'Content-Encoding': 'aes128gcm',
        TTL: String(TTL_S),
        Urgency: 'high',
        Topic: message.topic,
      },
      body,
    })
    await response.body?.cancel()
    return outcomeOf(response.status, origin)
  } catch (error) {
    return said('later', origin, String(error))
  }
}

function outcomeOf(status: number, origin: string): Outcome {
  if (status >= 200 && status < 300) return 'sent'
  if (status === 404 || status === 410) return 'gone'
  return said(status === 429 || status >= 500 ? 'later' : 'refused', origin, status)
}

/** The address itself is a secret of the browser’s, so the log has its origin. */
function said(outcome: Outcome, service: string, cause: string | number): Outcome {
  log.warn('push_not_taken', { outcome, service, cause })
  return outcome
}
