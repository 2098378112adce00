import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import type { Seen } from '../receiver/upstreams'
import { callJson, type World } from '../world'
import { chatWith, eventually, type TestChat } from './kit'

// Agents that answer by callback, as they see their run.

type Progress = { run_id: string; status: string; next_sequence: number }

/** An agent that answered 202, as it sees its run. */
export class Agent {
  constructor(
    readonly chat: TestChat,
    readonly runId: string,
    readonly token: string,
    readonly url: string,
  ) {}

  post(sequence: number, events: unknown[], headers: Record<string, string> = {}) {
    return callJson<Progress>('POST', `/api/v1/runs/${this.runId}/events`, {
      body: { sequence, events },
      headers: { 'X-Causeway-Run-Token': this.token, ...headers },
    })
  }
}

/** A chat whose agent was asked something, and answered 202. */
export async function asked(
  world: World,
  more: object = {},
  content = 'Work',
): Promise<{ chat: TestChat; agent: Agent; key: string }> {
  const key = crypto.randomUUID()
  const url202 = `${env.RECEIVER_URL}/upstream/status?code=202&key=${key}`
  const chat = await chatWith(world, { name: 'Agent', kind: 'webhook', webhook_url: url202, ...more })
  const answer = await chat.post({ content }, { Prefer: 'respond-async' })
  expect(answer.status).toBe(202)
  const { data } = await answer.json<{ data: { run_id: string } }>()
  const seen = await firstRequest(key)
  const token = String(seen?.headers['x-causeway-run-token'])
  const url = String(seen?.headers['x-causeway-run-events'])
  return { chat, agent: new Agent(chat, data.run_id, token, url), key }
}

/** The first request that the agent of this key was sent. */
export function firstRequest(key: string): Promise<Seen> {
  return eventually(async () => {
    const all = await (await fetch(`${env.RECEIVER_URL}/upstream/requests/${key}`)).json<Seen[]>()
    return all[0]
  })
}
