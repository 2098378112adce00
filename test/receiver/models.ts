import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'

// A model behind OpenAI's protocol that says what the test wants, turn by turn, and the API that its tools call.
//
//   POST /model/{key}/plan                the turns to come; the last one goes on for ever
//   POST /model/{key}/chat/completions    the next turn, streamed in pieces or whole, as it is asked for
//   GET  /model/{key}/seen                the bodies that came
//   *    /model/{key}/api/…               answers what it was sent: method, url, headers, body; ?hang= and ?code= else
//   GET  /model/{key}/api-seen            the same of all that came there, and whether the caller left before its answer

export type Turn = {
  text?: string
  /** `arguments` as the model writes it, well formed or not. */
  calls?: { id?: string; name: string; arguments: string }[]
  usage?: { prompt_tokens: number; completion_tokens: number }
  finish?: string
  /** Answers this instead, and an error. */
  status?: number
}
export type ApiSeen = {
  method: string
  url: string
  headers: Record<string, string>
  body: string
  left: boolean
}

type Model = { turns: Turn[]; seen: unknown[]; api: ApiSeen[] }
const models = new Map<string, Model>()

export async function modelServers(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, , key = '', what = ''] = (request.url ?? '').split(/[/?]/)
  const model = models.get(key) ?? { turns: [], seen: [], api: [] }
  models.set(key, model)
  const body = await text(request).catch(() => '')
  const json = (value: unknown, status = 200) =>
    void response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
  if (what === 'plan') {
    model.turns = JSON.parse(body)
    json({})
  } else if (what === 'seen') json(model.seen)
  else if (what === 'api-seen') json(model.api)
  else if (what === 'api') api(model, request, response, body, json)
  else {
    const asked = JSON.parse(body) as { stream?: boolean }
    model.seen.push(asked)
    const turn = (model.turns.length > 1 ? model.turns.shift() : model.turns[0]) ?? { text: 'Hm.' }
    if (turn.status) json({ error: { message: 'no capacity' } }, turn.status)
    else if (asked.stream) streamed(turn, response)
    else json(whole(turn))
  }
}

function api(
  model: Model,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
  json: (value: unknown, status?: number) => void,
): void {
  const { method = '', url = '' } = request
  const seen: ApiSeen = { method, url, headers: request.headers as ApiSeen['headers'], body, left: false }
  model.api.push(seen)
  const { searchParams } = new URL(url, 'http://receiver')
  response.on('close', () => {
    seen.left = !response.writableFinished
  })
  if (searchParams.has('hang')) return
  const code = Number(searchParams.get('code') ?? 200)
  json(code === 200 ? { ...seen, left: undefined } : { error: 'no such order' }, code)
}

const callOf = ({ id, name, arguments: written }: NonNullable<Turn['calls']>[number]) => ({
  ...(id === undefined ? {} : { id }),
  ...{ type: 'function', function: { name, arguments: written } },
})

const finishOf = ({ finish, calls }: Turn) => finish ?? (calls ? 'tool_calls' : 'stop')

function whole(turn: Turn) {
  const message = {
    ...{ role: 'assistant', content: turn.text ?? null },
    ...(turn.calls ? { tool_calls: turn.calls.map(callOf) } : {}),
  }
  return { choices: [{ index: 0, message, finish_reason: finishOf(turn) }], usage: turn.usage }
}

/** Calls come in pieces, as OpenAI sends them: first the name, then the arguments a few characters at a time. */
function streamed(turn: Turn, response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  const chunk = (delta: object, finish_reason: string | null = null) =>
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`)
  for (const content of turn.text?.match(/\s*\S+/g) ?? []) chunk({ content })
  for (const [index, call] of (turn.calls ?? []).entries()) {
    const { id, ...rest } = callOf({ ...call, arguments: '' })
    chunk({ tool_calls: [{ index, ...(id === undefined ? {} : { id }), ...rest }] })
    for (const piece of call.arguments.match(/[\s\S]{1,7}/g) ?? [])
      chunk({ tool_calls: [{ index, function: { arguments: piece } }] })
  }
  chunk({}, finishOf(turn))
  if (turn.usage) response.write(`data: ${JSON.stringify({ choices: [], usage: turn.usage })}\n\n`)
  response.end('data: [DONE]\n\n')
}
