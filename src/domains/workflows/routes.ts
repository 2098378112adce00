import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../http/route'
import { Job } from '../jobs/schema'
import { allow } from '../tenancy/authorize'
import { getRun, listRuns } from './runs'
import {
  CreateWorkflow,
  EXAMPLE,
  ListRuns,
  ListWorkflows,
  Run,
  StartWorkflow,
  UpdateWorkflow,
  Workflow,
} from './schema'
import { createWorkflow, deleteWorkflow, getWorkflow, listWorkflows, updateWorkflow } from './service'
import { startByHand } from './start'

const tag = 'workflows'
const one = { id: Id }

export const workflowRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create a workflow', {
      tag,
      description:
        'Steps of the types `http`, `webhook`, `agent`, `wait` and `branch`. Who saves steps must be allowed what they do: `events:write`, `chats:write`, `secrets:use`.',
      errors: ['conflict', 'forbidden_while_acting'],
    }),
    allow('workflows:write'),
    body(CreateWorkflow, { example: EXAMPLE }),
    returns(201, Workflow),
    async (c) => c.var.reply(await createWorkflow(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List workflows, newest first', { tag }),
    allow('workflows:read'),
    query(ListWorkflows),
    returnsPage(Workflow),
    async (c) => c.var.reply(await listWorkflows(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a workflow', { tag }),
    allow('workflows:read'),
    params(one),
    returns(200, Workflow),
    async (c) => c.var.reply(await getWorkflow(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a workflow', {
      tag,
      description: 'Runs that are under way go on with the steps that they began with.',
      errors: ['forbidden_while_acting'],
    }),
    allow('workflows:write'),
    params(one),
    body(UpdateWorkflow, { example: { is_active: false } }),
    returns(200, Workflow),
    async (c) => c.var.reply(await updateWorkflow(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a workflow', { tag, description: 'Its runs that are under way are cancelled.' }),
    allow('workflows:write'),
    params(one),
    returnsNothing(),
    async (c) => c.var.reply(await deleteWorkflow(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/start',
    doc('Start a workflow', {
      tag,
      description:
        'Answers with the run, which is a job: its id reads it here and at `/jobs`, where it is cancelled and retried.',
      errors: ['conflict'],
    }),
    allow('workflows:use'),
    params(one),
    body(StartWorkflow, { optional: true, example: { input: { order_id: 'A-1001', total: 120 } } }),
    returns(202, Job),
    async (c) => c.var.reply(await startByHand(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .get(
    '/:id/runs',
    doc('List the runs of a workflow, newest first', { tag }),
    allow('workflows:read'),
    params(one),
    query(ListRuns),
    returnsPage(Job),
    async (c) => c.var.reply(await listRuns(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .get(
    '/:id/runs/:run_id',
    doc('Read a run, and what came of its steps', { tag }),
    allow('workflows:read'),
    params({ ...one, run_id: Id }),
    returns(200, Run),
    async (c) => {
      const { id, run_id } = c.req.valid('param')
      return c.var.reply(await getRun(c.var.ctx, id, run_id))
    },
  )
