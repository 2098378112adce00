// An agent that answers one JSON document: `node docs/examples/agent-json.mjs [port]`
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

createServer(async (request, response) => {
  const { messages } = await json(request).catch(() => ({ messages: [] }))
  response.writeHead(200, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify({ content: `That was message ${messages.length} of our chat.` }))
}).listen(Number(process.argv[2] ?? 9003))
