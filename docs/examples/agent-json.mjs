// An agent that answers one JSON document: `node docs/examples/agent-json.mjs [port]`
import { createServer } from 'node:http'

createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const { messages } = JSON.parse(body)
  response.writeHead(200, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify({ content: `That was message ${messages.length}.` }))
}).listen(Number(process.argv[2] ?? 9003))
