import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

// What the servers of providers' protocols have in common: each test has one under a name of its own, can have it fail in
// every way, and reads what it was asked.

/** How the next requests that it fits are answered, in place of what the protocol would have. */
export type Fault = {
  /** `POST /v2/calls`, as the beginning of method and path; all, if left out. */
  at?: string
  /** How often; once, if left out. */
  times?: number
  status?: number
  headers?: Record<string, string>
  json?: unknown
  text?: string
  /** Waits before it answers. */
  ms?: number
  /** Never answers. */
  hang?: boolean
  /** Breaks the connection. */
  drop?: boolean
  /** Does what it was asked, and then fails as said: the answer alone is lost. */
  done?: boolean
}

export type Asked = {
  method: string
  path: string
  query: Record<string, string>
  headers: Record<string, string | undefined>
  body: unknown
}

export type Answer = { status: number; json?: unknown; bytes?: Buffer; headers?: Record<string, string> }

type Server<State> = { state: State; faults: Fault[]; asked: Asked[] }

export const answer = (status: number, json?: unknown): Answer =>
  json === undefined ? { status } : { status, json }

/**
 * A server of a protocol for each name: `/{prefix}/{name}/…`. PUT /faults says how it fails, GET /asked what it was asked,
 * and PUT /control/… changes what it knows.
 */
export function scripted<State>(
  make: (base: string) => State,
  answers: (state: State, asked: Asked) => Answer,
  control: (state: State, path: string, body: unknown) => unknown,
) {
  const servers = new Map<string, Server<State>>()
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', `http://${request.headers.host}`)
    const [, prefix, name = '', ...rest] = url.pathname.split('/')
    const server: Server<State> = servers.get(name) ?? {
      state: make(`${url.origin}/${prefix}/${name}`),
      faults: [],
      asked: [],
    }
    servers.set(name, server)
    const body = await bodyOf(request)
    const path = `/${rest.join('/')}`
    if (path === '/asked') return send(response, answer(200, server.asked))
    if (path === '/faults') {
      server.faults.push(...(body as Fault[]))
      return send(response, answer(200, {}))
    }
    if (path.startsWith('/control'))
      return send(response, answer(200, control(server.state, path.slice('/control'.length), body) ?? {}))
    const method = request.method ?? ''
    const {
      authorization,
      'x-api-key': key,
      'xi-api-key': xi,
      'content-type': type,
      traceparent,
    } = request.headers
    const asked: Asked = {
      ...{ method, path, body, query: Object.fromEntries(url.searchParams) },
      headers: {
        authorization,
        'x-api-key': (key ?? xi) as string | undefined,
        'content-type': type,
        traceparent: traceparent as string | undefined,
      },
    }
    server.asked.push(asked)
    const fault = faultFor(server, `${method} ${path}`)
    const real = !fault || fault.done ? answers(server.state, asked) : answer(fault.status ?? 500)
    if (!fault) return send(response, real)
    if (fault.ms !== undefined) await sleep(fault.ms)
    if (fault.hang) return
    if (fault.drop) return void response.destroy()
    if (fault.text !== undefined) {
      response.writeHead(fault.status ?? 200, { 'Content-Type': 'application/json', ...fault.headers })
      return void response.end(fault.text)
    }
    const {
      status = real.status,
      headers = {},
      json = fault.status === undefined ? real.json : { detail: 'no such luck' },
    } = fault
    send(response, { status, json, headers })
  }
}

function faultFor<State>(server: Server<State>, asked: string): Fault | undefined {
  const index = server.faults.findIndex(({ at = '' }) => asked.startsWith(at))
  const fault = server.faults[index]
  if (!fault) return undefined
  fault.times = (fault.times ?? 1) - 1
  if (fault.times <= 0) server.faults.splice(index, 1)
  return fault
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const type = request.headers['content-type'] ?? ''
  if (type.startsWith('multipart/')) return formIn(Buffer.concat(chunks), type)
  const text = Buffer.concat(chunks).toString()
  return text === '' ? undefined : JSON.parse(text)
}

/** The fields of a form; of a file what it is called, what it is, and how it begins. */
async function formIn(bytes: Buffer<ArrayBuffer>, type: string): Promise<Record<string, unknown[]>> {
  const form = await new Response(bytes, { headers: { 'Content-Type': type } }).formData()
  const fields: Record<string, unknown[]> = {}
  for (const [name, value] of form) {
    const shown =
      typeof value === 'string'
        ? value
        : { name: value.name, type: value.type, size: value.size, head: (await value.text()).slice(0, 4) }
    fields[name] = [...(fields[name] ?? []), shown]
  }
  return fields
}

function send(response: ServerResponse, { status, json, bytes, headers = {} }: Answer): void {
  if (bytes) return void response.writeHead(status, headers).end(bytes)
  if (json === undefined) return void response.writeHead(status, headers).end()
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(json))
}
