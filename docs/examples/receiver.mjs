// A receiver of webhooks: `SECRET=whsec_… node docs/examples/receiver.mjs [port]`
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'

const webhook = new Webhook(process.env.SECRET)

createServer(async (request, response) => {
  try {
    const event = webhook.verify(await text(request), request.headers) // throws where signature or time are wrong
    console.log(request.headers['webhook-id'], event)
    response.writeHead(204).end()
  } catch (error) {
    response.writeHead(400).end(error.message)
  }
}).listen(Number(process.argv[2] ?? 9000))
