import { equalInConstantTime, sha256 } from '../../../lib/crypto'
import { fieldOf, formFields } from './message'
import { asKey, fromBase64, type Incoming, joined, need, signerOf } from './proof'

// twilio.com/docs/usage/security: HMAC-SHA1 of the URL as Twilio has it, followed by the form's fields in the order of their
// names. A body that is no form is signed by its hash, which stands in the URL as bodySHA256.

const decoder = new TextDecoder()

/** The number of the auth token (from 1) that signed; 0 where none did. */
export async function isTwilios(
  { body, headers, urls }: Incoming,
  secrets: readonly string[],
): Promise<number> {
  const signature = fromBase64(need(headers, 'X-Twilio-Signature'))
  const hash = new URL(urls[0] ?? '').searchParams.get('bodySHA256')
  if (hash !== null && !equalInConstantTime(hash.toLowerCase(), await sha256(body))) return 0
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(headers.get('Content-Type') ?? '')
  // What the signature does not speak of may have been put there by anyone.
  if (hash === null && !isForm && body.byteLength > 0) return 0
  const fields = hash === null ? sortedFields(decoder.decode(body)) : ''
  const spelt = new Set(urls.flatMap(asWritten).flatMap(withAndWithoutPort))
  const texts = [...spelt].map((url) => joined(url, fields))
  return signerOf('SHA-1', secrets.map(asKey), [signature], ...texts)
}

/** Names and values in a row; of one that stands there twice each value once, as Twilio's own libraries do. */
function sortedFields(form: string): string {
  const fields = [...formFields(form)].sort(([a], [b]) => (a < b ? -1 : 1))
  return fields.flatMap(([name, all]) => [...new Set(all)].sort().map((value) => name + value)).join('')
}

/** The URL parser writes an apostrophe in a query otherwise than who made the URL may have. */
const asWritten = (url: string): string[] => [url, url.replaceAll('%27', "'")]

/** Twilio signs some URLs with their port and some without, whatever it was told. */
function withAndWithoutPort(url: string): string[] {
  const [, scheme, host, port, rest] = /^(https?):\/\/([^/?#:]+|\[[^\]]+\])(?::(\d+))?(.*)$/.exec(url) ?? []
  if (!scheme) return [url]
  const usual = scheme === 'https' ? '443' : '80'
  return [`${scheme}://${host}${rest}`, `${scheme}://${host}:${port ?? usual}${rest}`]
}

/** What Twilio knows a webhook by: a message and how it stands; what it is of, and how that stands. */
export function twiliosOwn(value: unknown): { key: string | null; type: string } {
  const message = fieldOf(value, 'MessageSid') ?? fieldOf(value, 'SmsSid')
  const status = fieldOf(value, 'MessageStatus') ?? fieldOf(value, 'SmsStatus')
  if (message && status) return { key: `${message}:${status}`, type: `message.${status}` }
  const recording = fieldOf(value, 'RecordingStatus')
  if (recording) return { key: null, type: `recording.${recording}` }
  const call = fieldOf(value, 'CallStatus')
  return { key: null, type: call ? `call.${call}` : '' }
}
