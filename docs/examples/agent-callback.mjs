// An agent that answers 202 and posts what it says when it has it: `node docs/examples/agent-callback.mjs [port]`
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'

async function work({ chatInput }, { 'x-causeway-run-events': url, 'x-causeway-run-token': token }) {
  const headers = { 'Content-Type': 'application/json', 'X-Causeway-Run-Token': token }
  let sequence = 1
  /** Posts events until they are taken; false where the run is over, as when somebody stopped it. */
  const post = async (...events) => {
    for (;;) {
      const body = JSON.stringify({ sequence, events })
      const answer = await fetch(url, { method: 'POST', headers, body }).catch(() => null)
      if (answer?.ok) {
        sequence += events.length
        return true
      }
      if (answer && answer.status < 500 && answer.status !== 429) return false
      await wait(1000 * Number(answer?.headers.get('Retry-After') ?? 1))
    }
  }
  const say = (content) => ({ type: 'message', data: { content } })
  for (const word of `You asked: ${chatInput}`.split(/(?<= )/)) {
    await wait(200)
    if (!(await post(say(word)))) return
  }
  await post({ type: 'done', data: { usage: { prompt_tokens: 2, completion_tokens: 4 } } })
}

createServer(async (request, response) => {
  const question = await json(request).catch(() => null)
  response.writeHead(question ? 202 : 400).end()
  if (question) await work(question, request.headers)
}).listen(Number(process.argv[2] ?? 9003))
