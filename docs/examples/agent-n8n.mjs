// An agent that streams JSON lines as n8n does: `node docs/examples/agent-n8n.mjs [port]`
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'

createServer(async (request, response) => {
  const { chatInput, sessionId } = await json(request).catch(() => ({ chatInput: 'nothing', sessionId: '-' }))
  const line = (type, content) => {
    response.write(`${JSON.stringify({ type, content, metadata: { nodeName: 'Agent' } })}\n`)
  }
  response.writeHead(200, { 'Content-Type': 'application/json' })
  line('begin')
  for (const word of `Session ${sessionId.slice(0, 8)} asks: ${chatInput}`.split(/(?<= )/)) {
    line('item', word)
    await wait(200)
  }
  line('end')
  response.end()
}).listen(Number(process.argv[2] ?? 9002))
