import http from 'node:http'
import { workerdPid } from '../cpu.ts'
import { ORIGIN } from '../runtime.ts'
import { type Agents, startAgents } from './agent.ts'
import { Readers } from './readers.ts'

type Call = (method: string, path: string, body?: object) => Promise<Record<string, unknown>>

/** The service with agents and readers around it. */
export type Stage = {
  port: number
  token: string
  /** The id of the tenant. */
  tenant: string
  call: Call
  agents: Agents
  readers: Readers
  stop: () => Promise<void>
}

/** A chat, and the path at which its agent answers. */
export type Chat = { id: string; path: string; agent: string }

/** Sets agents and readers up around a service. */
export async function setStage(
  { port, token, call }: Pick<Stage, 'port' | 'token' | 'call'>,
  end: () => Promise<void>,
): Promise<Stage> {
  const agents = await startAgents()
  const readers = new Readers()
  const stop = async () => {
    readers.stop()
    agents.stop()
    await end()
  }
  const { tenant_id } = await call('GET', '/api/v1/auth/me')
  return { port, token, tenant: String(tenant_id), call, agents, readers, stop }
}

let chats = 0

/** Makes a chat with an agent of its own. */
export async function makeChat({ call, agents }: Stage): Promise<Chat> {
  chats += 1
  const agent = `/agent-${chats}`
  const made = await call('POST', '/api/v1/agents', { name: agent, webhook_url: agents.url + agent })
  const { id } = await call('POST', '/api/v1/chats', { agent_id: made.id })
  return { id: String(id), path: `/api/v1/chats/${id}`, agent }
}

/** A request in full, as the readers send it. */
export function requestOf(
  { token }: Pick<Stage, 'token'>,
  method: string,
  path: string,
  { headers = {}, body }: { headers?: Record<string, string>; body?: object } = {},
): string {
  const text = body ? JSON.stringify(body) : ''
  const all: Record<string, string> = {
    ...{ Host: new URL(ORIGIN).host, Authorization: `Bearer ${token}` },
    ...(body
      ? { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(text)) }
      : {}),
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${ORIGIN}${path} HTTP/1.1\r\n${lines.join('')}\r\n${text}`
}

/** Reads an answer to its end, or to where `enough` says so. */
export function read(
  { port, token }: Pick<Stage, 'port' | 'token'>,
  method: string,
  route: string,
  body?: object,
  enough: (text: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = {
      ...{ Host: new URL(ORIGIN).host, Authorization: `Bearer ${token}`, Accept: 'text/event-stream' },
      ...(body ? { 'Content-Type': 'application/json' } : {}),
    }
    const options = { host: '127.0.0.1', port, method, path: ORIGIN + route, headers, agent: false as const }
    const request = http.request(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
        if (!enough(text)) return
        resolve(text)
        request.destroy()
      })
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(text)
        else reject(new Error(`${method} ${route} was answered ${answer.statusCode}: ${text}`))
      })
    })
    request.on('error', reject)
    request.end(body && JSON.stringify(body))
  })
}

/** The processes of the service. */
export const ours = (): number[] => [workerdPid() ?? 0]
