// A receiver of webhooks: `SECRET=whsec_… node docs/examples/receiver.mjs [port]`
import { createServer } from 'node:http'
import { Webhook } from 'standardwebhooks'

const webhook = new Webhook(process.env.SECRET)

createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const event = webhook.verify(body, request.headers) // throws when the signature or its time is wrong
  console.log(request.headers['webhook-id'], event)
  response.writeHead(204).end()
}).listen(Number(process.argv[2] ?? 9000))
