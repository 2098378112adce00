import { sha256 } from '../../../lib/crypto'
import { utf8 } from '../../../lib/encoding'

/**
 * What makes a request the same as another: method, path with its query, the header that names its target where the route
 * has one, and body. SHA-256 in hex.
 */
export function fingerprintOf(
  request: Request,
  body: Uint8Array<ArrayBuffer>,
  target?: string,
): Promise<string> {
  const { pathname, search } = new URL(request.url)
  const named = target === undefined ? null : request.headers.get(target)
  const head = utf8(`${request.method}\n${pathname}${search}\n${named === null ? '' : `${named}\n`}`)
  const sent = withoutBoundary(request.headers.get('Content-Type') ?? '', body)
  const whole = new Uint8Array(head.byteLength + sent.byteLength)
  whole.set(head)
  whole.set(sent, head.byteLength)
  return sha256(whole)
}

/** A form's boundary is another one each time that the same form is sent (RFC 2046, 5.1.1), so it is left out. */
function withoutBoundary(type: string, body: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const boundary = /^multipart\/.*;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(type)
  const word = boundary?.[1] ?? boundary?.[2]
  // Every byte is a letter of windows-1252, so nothing but the boundary is lost.
  return word ? utf8(new TextDecoder('windows-1252').decode(body).replaceAll(word, '')) : body
}
