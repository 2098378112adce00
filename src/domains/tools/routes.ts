import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../http/route'
import { allow } from '../tenancy/authorize'
import { CreateTool, ListTools, TestTool, Tool, ToolResult, UpdateTool } from './schema'
import { createTool, deleteTool, getTool, listTools, stillAdmitted, testTool, updateTool } from './service'

const tag = 'Tools'
const id = params({ id: Id })

export const toolRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create a tool', {
      tag,
      description:
        'Agents that have it in their `tools` may call it. A header with a secret needs `secrets:use`.',
      errors: ['already_exists', 'forbidden_while_acting'],
    }),
    allow('tools:write'),
    body(CreateTool),
    returns(201, Tool),
    async (c) => c.var.reply(await createTool(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List tools, newest first', { tag }),
    allow('tools:read'),
    query(ListTools),
    returnsPage(Tool),
    async (c) => c.var.reply(await listTools(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read a tool', { tag }), allow('tools:read'), id, returns(200, Tool), async (c) =>
    c.var.reply(await getTool(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a tool', { tag, errors: ['already_exists', 'forbidden_while_acting'] }),
    allow('tools:write'),
    id,
    body(UpdateTool),
    returns(200, Tool),
    async (c) => c.var.reply(await updateTool(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a tool', { tag, description: 'Agents that had it go on without it.' }),
    allow('tools:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteTool(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/test',
    doc('Call a tool once', {
      tag,
      description:
        'With the arguments that an agent would give it. What came back is answered 200, whatever it was; secrets in it are masked.',
      idempotency: 'claimed',
      again: stillAdmitted,
      errors: ['forbidden_while_acting'],
    }),
    allow('tools:write'),
    id,
    body(TestTool),
    returns(200, ToolResult),
    async (c) => c.var.reply(await testTool(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
