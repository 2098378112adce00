// A receiver that holds no secret: `JWKS=https://…/jwks.json node docs/examples/receiver-v1a.mjs [port]`
import { createPublicKey, verify } from 'node:crypto'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'

let keys = [] // keep them for the five minutes that their Cache-Control says

async function fetchKeys() {
  const { keys: published } = await (await fetch(process.env.JWKS)).json()
  keys = published.map((key) => createPublicKey({ key, format: 'jwk' }))
}

/** Whether one of the tenant's keys made one of the signatures, no more than five minutes ago. */
function isGenuine(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures = '' } = headers
  if (!(Math.abs(Date.now() / 1000 - timestamp) <= 300)) return false
  const signed = Buffer.from(`${id}.${timestamp}.${body}`)
  const made = signatures.split(' ').filter((one) => one.startsWith('v1a,'))
  return made.some((one) =>
    keys.some((key) => verify(null, signed, key, Buffer.from(one.slice(4), 'base64'))),
  )
}

createServer(async (request, response) => {
  const body = await text(request)
  if (!isGenuine(request.headers, body)) await fetchKeys() // there may be a new one
  const genuine = isGenuine(request.headers, body)
  if (genuine) console.log('genuine', JSON.parse(body).type)
  response.writeHead(genuine ? 204 : 400).end()
}).listen(Number(process.argv[2] ?? 9000))
