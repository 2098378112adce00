import { createECDH, createPublicKey, verify } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { decrypt } from 'http_ece'

// A push service (RFC 8030) and the browsers behind it: POST /push/send/{name} takes a message as push services do, and
// GET /push/read/{name}?key={private}.{auth} reads what came, as the browser with that private key and secret would, by another
// implementation of RFC 8188 and 8291. `name` begins with how it answers: gone-… 410, busy-… 503 the first time.

type Received = { headers: Record<string, unknown>; body: Buffer }

const received = new Map<string, Received[]>()

export async function pushServices(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', `http://${request.headers.host}`)
  const [, , act = '', name = ''] = url.pathname.split('/')
  const list = received.get(name) ?? []
  received.set(name, list)
  if (act === 'read') {
    const messages = list.map(({ headers, body }) => ({ headers, ...opened(url, body) }))
    return void response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(messages))
  }
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece as Buffer)
  const body = Buffer.concat(pieces)
  const fault = faultOf(request, body, url.origin)
  if (fault) return void response.writeHead(400).end(fault)
  list.push({ headers: request.headers, body })
  if (name.startsWith('gone-')) return void response.writeHead(410).end()
  if (name.startsWith('busy-') && list.length === 1) return void response.writeHead(503).end()
  response.writeHead(201, { Location: `${url.origin}/message/1` }).end()
}

function opened(url: URL, body: Buffer): { text: string } {
  const [privateKey = '', auth = ''] = (url.searchParams.get('key') ?? '').split('.')
  return {
    text: decrypt(body, { version: 'aes128gcm', privateKey: keyOf(privateKey), authSecret: auth }).toString(),
  }
}

/** What Node’s own ECDH makes of a private key. */
function keyOf(privateKey: string) {
  const ecdh = createECDH('prime256v1')
  ecdh.setPrivateKey(Buffer.from(privateKey, 'base64url'))
  return ecdh
}

/** What a push service would refuse, or null. */
function faultOf(request: IncomingMessage, body: Buffer, origin: string): string | null {
  const { authorization = '', 'content-encoding': encoding, ttl, topic } = request.headers
  const [, token = '', key = ''] = /^vapid t=([\w.-]+), k=([\w-]+)$/.exec(authorization) ?? []
  if (encoding !== 'aes128gcm') return 'not aes128gcm'
  if (!/^\d+$/.test(String(ttl))) return 'no TTL'
  if (topic !== undefined && !/^[\w-]{1,32}$/.test(String(topic))) return 'no topic'
  if (body.byteLength > 4096) return 'too long'
  const [head = '', claims = '', signature = ''] = token.split('.')
  const point = Buffer.from(key, 'base64url')
  const jwk = {
    ...{ kty: 'EC', crv: 'P-256' },
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33).toString('base64url'),
  }
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' })
  const signed = Buffer.from(`${head}.${claims}`)
  const options = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
  if (!verify('sha256', signed, options, Buffer.from(signature, 'base64url'))) return 'not signed'
  const { aud, exp, sub } = JSON.parse(Buffer.from(claims, 'base64url').toString())
  const seconds = Date.now() / 1000
  if (aud !== origin) return `aud is ${aud}`
  if (!(exp > seconds && exp <= seconds + 86_400)) return `exp is ${exp}`
  return /^(?:mailto:|https:)/.test(sub) ? null : `sub is ${sub}`
}
