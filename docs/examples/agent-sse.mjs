// An agent that streams Server-Sent Events: `node docs/examples/agent-sse.mjs [port]`
import { createServer } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const question = JSON.parse(body).messages.at(-1).content
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (const word of `You said: ${question}`.split(/(?<= )/)) {
    response.write(`data: ${JSON.stringify({ content: word })}\n\n`)
    await wait(200)
  }
  response.end('data: [DONE]\n\n')
}).listen(Number(process.argv[2] ?? 9001))
