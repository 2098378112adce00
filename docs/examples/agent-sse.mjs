// An agent that streams Server-Sent Events: `node docs/examples/agent-sse.mjs [port]`
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'

createServer(async (request, response) => {
  const { messages } = await json(request).catch(() => ({ messages: [{ content: 'nothing' }] }))
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (const word of `You said: ${messages.at(-1).content}`.split(/(?<= )/)) {
    response.write(`data: ${JSON.stringify({ content: word })}\n\n`)
    await wait(200)
  }
  response.end('data: [DONE]\n\n')
}).listen(Number(process.argv[2] ?? 9001))
