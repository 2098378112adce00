import { env } from 'cloudflare:workers'
import type { Run, Workflow } from '../../src/domains/workflows/schema'
import { eventually } from '../webhooks/receiver'
import { callJson, type World } from '../world'

type Making = Partial<Omit<Workflow, 'steps' | 'triggers'>> & { steps: object[]; triggers?: object[] }

/** Makes a workflow as a developer would. */
export async function makeWorkflow(world: World, making: Making): Promise<Workflow> {
  const body = { name: 'Test', ...making }
  const made = await callJson<Workflow>('POST', '/api/v1/workflows', { token: world.developer.token, body })
  if (made.status !== 201) throw new Error(JSON.stringify(made.error))
  return made.data
}

export async function startWorkflow(world: World, { id }: Workflow, input: object = {}): Promise<string> {
  const path = `/api/v1/workflows/${id}/start`
  const started = await callJson<Run>('POST', path, { token: world.developer.token, body: { input } })
  if (started.status !== 202) throw new Error(JSON.stringify(started.error))
  return started.data.id
}

export async function readRun(world: World, { id }: Pick<Workflow, 'id'>, runId: string): Promise<Run> {
  const path = `/api/v1/workflows/${id}/runs/${runId}`
  return (await callJson<Run>('GET', path, { token: world.developer.token })).data
}

/** The run once it has ended, or is as `is` wants it. */
export function endedRun(
  world: World,
  workflow: Pick<Workflow, 'id'>,
  runId: string,
  is: (run: Run) => boolean = ({ finished_at }) => finished_at !== null,
): Promise<Run> {
  return eventually(async () => {
    const run = await readRun(world, workflow, runId)
    return is(run) ? run : null
  })
}

/** Makes it, starts it and waits for its end. */
export async function ran(world: World, steps: object[], input: object = {}): Promise<Run> {
  const workflow = await makeWorkflow(world, { steps })
  return endedRun(world, workflow, await startWorkflow(world, workflow, input))
}

export const outputOf = <T = unknown>(run: Run, name: string) =>
  run.steps.find((step) => step.name === name)?.output as T

export async function runsOf(world: World, { id }: Pick<Workflow, 'id'>, query = ''): Promise<Run[]> {
  const path = `/api/v1/workflows/${id}/runs?${query}`
  return (await callJson<Run[]>('GET', path, { token: world.developer.token })).data
}

export async function eventsOf(
  world: World,
  type: string,
): Promise<{ id: string; data: never; origin: string }[]> {
  const { results } = await env.DB.prepare(
    'select id, data, origin from events where tenant_id = ? and type = ? order by seq',
  )
    .bind(world.tenant.id, type)
    .all<{ id: string; data: string; origin: string }>()
  return results.map(({ data, ...row }) => ({ ...row, data: JSON.parse(data) as never }))
}

export const sendEvent = async (world: World, type: string, data: object = {}) => {
  const body = { type, data }
  const sent = await callJson<{ id: string }>('POST', '/api/v1/events', {
    token: world.developer.token,
    body,
  })
  if (sent.status !== 201) throw new Error(JSON.stringify(sent.error))
  return sent.data.id
}
