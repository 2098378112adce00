import { env } from 'cloudflare:workers'
import type * as z from 'zod'
import type { Tool, ToolResult } from '../../src/domains/tools/schema'
import type { ApiSeen, Turn } from '../receiver/models'
import { callJson, type World } from '../world'

/** A model that says what a test wants, and the API that its tools call. */
export class Model {
  readonly base_url = `${env.RECEIVER_URL}/model/${crypto.randomUUID()}`
  readonly api = `${this.base_url}/api`

  async plan(...turns: Turn[]): Promise<this> {
    await fetch(`${this.base_url}/plan`, { method: 'POST', body: JSON.stringify(turns) })
    return this
  }

  /** What the model was asked, turn by turn. */
  seen = async <T = Asked>(): Promise<T[]> => (await fetch(`${this.base_url}/seen`)).json()
  /** What its tools were sent. */
  called = async (): Promise<ApiSeen[]> => (await fetch(`${this.base_url}/api-seen`)).json()
}

export type Asked = {
  messages: { role: string; content: unknown; tool_calls?: unknown[]; tool_call_id?: string; name?: string }[]
  tools?: { type: string; function: { name: string; description?: string; parameters: unknown } }[]
  tool_choice?: unknown
}

export type MadeTool = z.output<typeof Tool>

export const makeTool = (world: World, body: Record<string, unknown>, token = world.developer.token) =>
  callJson<MadeTool>('POST', '/api/v1/tools', { token, body })

/** The same, which must come to pass. */
export async function toolOf(world: World, body: Record<string, unknown>): Promise<MadeTool> {
  const { status, data, error } = await makeTool(world, body)
  if (status !== 201) throw new Error(JSON.stringify(error))
  return data
}

export const tryTool = (world: World, id: string, args: unknown = {}, token = world.developer.token) =>
  callJson<ToolResult>('POST', `/api/v1/tools/${id}/test`, { token, body: { arguments: args } })

export const keepSecret = (world: World, name: string, value: string, hosts = ['127.0.0.1']) =>
  callJson('PUT', `/api/v1/secrets/${name}`, { token: world.admin.token, body: { value, hosts } })
