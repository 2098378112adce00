import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing } from '../../../http/route'
import { listTypes, typeOf } from '../../events/types/noted'
import { allow } from '../../tenancy/authorize'
import { svix as dialect } from '../dialect'
import { createdOrNot, Flag, listing, listOf, spanOf, windowOf } from '../wire'
import { EventTypeIn, EventTypeOut, EventTypePatch, EventTypePut, ListEventTypes, TypeName } from './schema'
import { deleteType, eventTypeOut, makeType, patchType, putType } from './service'

const tag = 'svix'
const path = { event_type_name: TypeName }
const bare = { bare: true } as const
const example = { description: 'A user has signed up' }

/** Svix's event types: the tenant's own, under any name. */
export const svixEventTypes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List event types by name', { tag, dialect }),
    allow('webhooks:read'),
    query(ListEventTypes, { unknown: 'ignored' }),
    returns(200, listOf(EventTypeOut), bare),
    async (c) => {
      const asked = c.req.valid('query')
      const window = windowOf(asked, 'ascending', (text) => text)
      const rows = await listTypes(c.var.ctx, spanOf(window), asked.include_archived)
      const show = (row: (typeof rows)[number]) => eventTypeOut(row, false, asked.with_content)
      return c.var.reply(listing(rows, window, show, ({ name }) => name))
    },
  )
  .post(
    '/',
    doc('Create an event type', {
      tag,
      dialect,
      description: 'An archived one of that name is taken out of the archive.',
      errors: ['already_exists'],
    }),
    allow('webhooks:write'),
    body(EventTypeIn, { example: { name: 'user.signup', ...example } }),
    returns(201, EventTypeOut, { ...bare, location: ({ name }) => `/api/v1/event-type/${name}` }),
    async (c) => c.var.reply(await makeType(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/:event_type_name',
    doc('Read an event type', { tag, dialect }),
    allow('webhooks:read'),
    params(path),
    returns(200, EventTypeOut, bare),
    async (c) => c.var.reply(eventTypeOut(await typeOf(c.var.ctx, c.req.valid('param').event_type_name))),
  )
  .put(
    '/:event_type_name',
    doc('Change an event type, or create it', {
      tag,
      dialect,
      also: [{ status: 201, schema: EventTypeOut, bare: true, description: 'It was created' }],
    }),
    allow('webhooks:write'),
    params(path),
    body(EventTypePut, { example }),
    returns(200, EventTypeOut, createdOrNot),
    async (c) =>
      c.var.reply(await putType(c.var.ctx, c.req.valid('param').event_type_name, c.req.valid('json'))),
  )
  .patch(
    '/:event_type_name',
    doc('Change what is sent of an event type', { tag, dialect }),
    allow('webhooks:write'),
    params(path),
    body(EventTypePatch, { example }),
    returns(200, EventTypeOut, bare),
    async (c) =>
      c.var.reply(await patchType(c.var.ctx, c.req.valid('param').event_type_name, c.req.valid('json'))),
  )
  .delete(
    '/:event_type_name',
    doc('Archive an event type', {
      tag,
      dialect,
      description:
        'No endpoint can be made for it any more; those that take it still do. `expunge=true` deletes it for good.',
    }),
    allow('webhooks:write'),
    params(path),
    query({ expunge: Flag(false) }, { unknown: 'ignored' }),
    returnsNothing(),
    async (c) => {
      const { event_type_name } = c.req.valid('param')
      return c.var.reply(await deleteType(c.var.ctx, event_type_name, c.req.valid('query').expunge))
    },
  )
