// Stands in for a model behind OpenAI's protocol, to try tools without one: it calls the agent's first tool with the last
// word of the question, and says what came of it: `node docs/examples/model.mjs [port]`
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

createServer(async (request, response) => {
  const { messages, tools } = await json(request)
  const last = messages.at(-1)
  const asked = tools?.[0]?.function
  const delta =
    last.role === 'tool' || !asked
      ? { content: `I was told ${last.content}` }
      : { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: callOf(asked, last.content) }] }
  const choice = { index: 0, delta, finish_reason: delta.tool_calls ? 'tool_calls' : 'stop' }
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.end(`data: ${JSON.stringify({ choices: [choice] })}\n\ndata: [DONE]\n\n`)
}).listen(Number(process.argv[2] ?? 9026))

function callOf({ name, parameters }, question) {
  const [first] = Object.keys(parameters.properties)
  return { name, arguments: JSON.stringify({ [first]: question.match(/[\w-]+(?=\W*$)/)[0] }) }
}
