import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { Job } from '../../jobs/schema'
import { allow } from '../../tenancy/authorize'
import { itemsBody } from './body'
import { importItems } from './import'
import { Answered, ChangeItem, ImportItems, Item, listFilters } from './schema'
import { deleteItem, getItem, listItems, putItem, putItems, updateItem } from './service'

const tag = 'Items'

export const itemRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create or replace items', {
      tag,
      description:
        'One item as an object: 201 where it is new, 200 where one of that `external_id` was there and is now what was sent. Or up to 10,000 in 10 MiB, as a JSON array, as lines of JSON (`application/x-ndjson`) or as CSV with a header (`text/csv`): the good ones are kept, and each of the others is named with its line.',
      idempotency: 'claimed',
      errors: ['malformed_body', 'payload_too_large'],
      also: [{ status: 200, schema: Answered, description: 'It was there, or they were many' }],
    }),
    allow('items:write'),
    itemsBody(),
    returns(201, Answered, {
      statusOf: (value) => ('was_there' in value && !value.was_there ? 201 : 200),
      description: 'It is new',
    }),
    async (c) => {
      const { sent, ctx } = c.var
      return c.var.reply('item' in sent ? await putItem(ctx, sent.item) : await putItems(ctx, sent.lines))
    },
  )
  .post(
    '/import',
    doc('Import items from a file', {
      tag,
      description:
        'Of CSV or lines of JSON, of any size: a job takes them in, 500 at a step, and its `result` counts them and names the first hundred that it refused. It goes on where it was after whatever breaks off. The file must stay until the job has ended.',
      errors: ['malformed_body', 'upload_incomplete'],
    }),
    allow('items:write'),
    body(ImportItems),
    returns(202, Job),
    async (c) => c.var.reply(await importItems(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List items, newest first', { tag }),
    allow('items:read'),
    query(listFilters),
    returnsPage(Item),
    async (c) => c.var.reply(await listItems(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an item', { tag }),
    allow('items:read'),
    params({ id: Id }),
    returns(200, Item),
    async (c) => c.var.reply(await getItem(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change an item', { tag, description: '`tags` and `attributes` are replaced whole.' }),
    allow('items:write'),
    params({ id: Id }),
    body(ChangeItem),
    returns(200, Item),
    async (c) => c.var.reply(await updateItem(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete an item', { tag, description: 'Interactions with it stay.' }),
    allow('items:write'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await deleteItem(c.var.ctx, c.req.valid('param').id)),
  )
