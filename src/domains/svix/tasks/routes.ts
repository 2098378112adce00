import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { svix as dialect } from '../dialect'
import { endpointAt } from '../endpoints/part-routes'
import { Ref } from '../wire'
import { BulkReplayIn, Since, TaskId, TaskOut, TaskStarted, UsageStarted } from './schema'
import { getTask, recoverFailed, replayAll, replayMissing } from './service'
import { countEventTypes, countUsage, UsageIn } from './statistics'

const tag = 'svix'
const path = { app_id: Ref('app'), endpoint_id: Ref('ep') }
const bare = { bare: true } as const
const example = { since: '2026-01-31T10:00:00.000Z' }
const location = { ...bare, location: (task: { id: string }) => `/api/v1/background-task/${task.id}` }

/** What Svix does beside a request, for an endpoint; mounted under an application's endpoints. */
export const svixRecoveries = new Hono<AppEnv>()
  .post(
    '/:endpoint_id/recover',
    doc('Send an endpoint again what failed', {
      tag,
      dialect,
      description: 'A task, which sends oldest first and no faster than the endpoint takes it.',
    }),
    allow('deliveries:write'),
    params(path),
    body(Since, { example }),
    returns(202, TaskStarted, location),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(await recoverFailed(c.var.ctx, id, c.req.valid('json')))
    },
  )
  .post(
    '/:endpoint_id/replay-missing',
    doc('Send an endpoint what it would take and was never sent', { tag, dialect }),
    allow('deliveries:write'),
    params(path),
    body(Since, { example }),
    returns(202, TaskStarted, location),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(await replayMissing(c.var.ctx, id, c.req.valid('json')))
    },
  )
  .post(
    '/:endpoint_id/bulk-replay',
    doc('Send an endpoint once more what it was sent', {
      tag,
      dialect,
      description: 'What arrived too: for a receiver that lost what it had.',
    }),
    allow('deliveries:write'),
    params(path),
    body(BulkReplayIn, { example: { ...example, eventTypes: ['user.signup'], status: 0 } }),
    returns(202, TaskStarted, location),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(await replayAll(c.var.ctx, id, c.req.valid('json')))
    },
  )

export const svixTasks = new Hono<AppEnv>().get(
  '/:task_id',
  doc('Read a task', { tag, dialect }),
  allow('deliveries:read'),
  params({ task_id: TaskId }),
  returns(200, TaskOut, bare),
  async (c) => c.var.reply(await getTask(c.var.ctx, c.req.valid('param').task_id)),
)

/** Svix's statistics over applications. */
export const svixStatistics = new Hono<AppEnv>()
  .post(
    '/usage/app',
    doc('Count the attempts of applications', {
      tag,
      dialect,
      description: 'A task, by whole hours, a month back at most; its `data` has `appStats`.',
    }),
    allow('webhooks:read'),
    body(UsageIn, { example: { since: '2026-01-31T10:00:00.000Z', until: '2026-01-31T12:00:00.000Z' } }),
    returns(202, UsageStarted, location),
    async (c) => c.var.reply(await countUsage(c.var.ctx, c.req.valid('json'))),
  )
  .put(
    '/usage/event-types',
    doc('List the event types that the endpoints of each application name', { tag, dialect }),
    allow('webhooks:read'),
    returns(202, TaskStarted, location),
    async (c) => c.var.reply(await countEventTypes(c.var.ctx)),
  )
