import * as z from 'zod'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { Time } from '../../../lib/wire'
import { jobKind, type Step } from '../../jobs/kinds'
import { startJob } from '../../jobs/service'
import { findApplication, listApplications } from '../../webhooks/applications/service'
import type { ApplicationRow } from '../../webhooks/applications/table'
import { endpointsOf } from '../../webhooks/endpoints/of-application'
import { attemptsBetween } from '../../webhooks/endpoints/stats'
import type { EndpointRow } from '../../webhooks/endpoints/table'
import { showing } from '../showing'
import { prefixed, Ref } from '../wire'
import { taskOut } from './service'

// Statistics over applications, which Svix counts beside the request: some applications a step.

export const UsageIn = z.object({
  since: Time,
  until: Time,
  appIds: z.array(Ref('app')).min(1, 'must name at least one').max(100, 'must name at most 100').nullish(),
})

type Counted = { of: 'usage'; since: string; until: string } | { of: 'event_types' }
type Input = Counted & { ids: string[] | null }
type State = { after: string | null; rows: Record<string, unknown>[] }

const APPLICATIONS = 10
const ENDPOINTS = 100
/** A row of D1 ends at 2 MB. */
const MOST_CHARACTERS = 1_000_000

export const statistics = jobKind<Input, State>({
  name: 'svix.statistics',
  scope: 'webhooks:read',
  step: async (ctx, { input, state }) => count(ctx, input, state),
})

async function count(ctx: Context, input: Input, state: State): Promise<Step<State>> {
  const apps = await nextApplications(ctx, input, state)
  const rows = [...state.rows, ...(await Promise.all(apps.map((app) => rowOf(ctx, input, app))))]
  if (JSON.stringify(rows).length > MOST_CHARACTERS)
    throw problem('conflict', 'There are too many applications to count them at once; name some in appIds')
  const done = apps.length < APPLICATIONS
  const name = input.of === 'usage' ? 'appStats' : 'event_types'
  return {
    state: { after: apps.at(-1)?.id ?? state.after, rows: done ? [] : rows },
    result: done ? { [name]: rows } : {},
    ...{ progress: done ? 100 : 50, done },
  }
}

async function nextApplications(ctx: Context, { ids }: Input, { after }: State): Promise<ApplicationRow[]> {
  if (ids === null) return listApplications(ctx, { limit: APPLICATIONS, ascending: true, from: after })
  const some = ids.filter((id) => after === null || id > after).slice(0, APPLICATIONS)
  const found = await Promise.all(some.map((id) => findApplication(ctx, { id })))
  return found.flatMap((app) => app ?? [])
}

async function rowOf(ctx: Context, input: Input, { id, uid }: ApplicationRow) {
  const appId = prefixed('app', id)
  const types = new Set<string>()
  let attempts = 0
  let hasCatchAllEndpoint = false
  for await (const endpoint of everyEndpoint(ctx, id)) {
    if (input.of === 'usage') attempts += await attemptsOf(ctx, endpoint, input)
    else if (endpoint.event_types.includes('*')) hasCatchAllEndpoint = true
    else for (const type of endpoint.event_types) types.add(type)
  }
  if (input.of === 'usage') return { appId, appUid: uid, messageDestinations: attempts }
  return { appId, explicitlySubscribedEventTypes: [...types].sort(), hasCatchAllEndpoint }
}

async function* everyEndpoint(ctx: Context, applicationId: string): AsyncGenerator<EndpointRow> {
  let from: string | null = null
  for (;;) {
    const some: EndpointRow[] = await endpointsOf(ctx, applicationId, {
      ...{ limit: ENDPOINTS, ascending: true, from },
    })
    yield* some
    from = some.at(-1)?.id ?? null
    if (some.length < ENDPOINTS) return
  }
}

async function attemptsOf(
  ctx: Context,
  { id }: EndpointRow,
  { since, until }: { since: string; until: string },
) {
  const { succeeded, failed } = await attemptsBetween(ctx, id, Date.parse(since), Date.parse(until))
  return succeeded + failed
}

async function start<T>(
  ctx: Context,
  input: Input,
  show: (job: Parameters<typeof taskOut>[0]) => T,
): Promise<T> {
  const first = await count(ctx, input, { after: null, rows: [] })
  // Nothing is changed by a count, and so nothing is on record.
  return show(await startJob(showing(ctx, show), statistics, input, first, () => []))
}

/** Counts the attempts of all applications, or of those that are named, by the hours that the time touches. */
export async function countUsage(ctx: Context, { since, until, appIds }: z.output<typeof UsageIn>) {
  if (since > until) throw problem.invalid({ since: 'must be before until' })
  const found = await Promise.all(
    (appIds ?? []).map(async (ref) => ({ ref, app: await findApplication(ctx, ref) })),
  )
  const unresolvedAppIds = found.flatMap(({ ref, app }) => (app ? [] : 'id' in ref ? ref.id : ref.uid))
  const ids = appIds ? found.flatMap(({ app }) => app?.id ?? []).sort() : null
  return start(ctx, { of: 'usage', since, until, ids }, (job) => ({ ...taskOut(job), unresolvedAppIds }))
}

/** Which event types the endpoints of each application name. */
export const countEventTypes = (ctx: Context) => start(ctx, { of: 'event_types', ids: null }, taskOut)
