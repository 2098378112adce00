import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { attachmentRoutes } from '../attachments/routes'
import { inboxRoutes } from '../inbox/routes'
import { messageRoutes } from '../messages/routes'
import { treeRoutes } from '../messages/tree-routes'
import { peopleRoutes } from '../people/routes'
import { searchRoutes } from '../search/routes'
import { shareRoutes } from '../shares/routes'
import { transferRoutes } from '../transfer/routes'
import { forkChat } from './fork'
import { listChats } from './list'
import { Chat, ChatWithMessages, CreateChat, ForkChat, ListedChat, listFilters, UpdateChat } from './schema'
import { createChat, deleteChat, getChat, stillIn, updateChat } from './service'

const tag = 'Chats'
const id = params({ id: Id })

export const chats = new Hono<AppEnv>()
  // Before what is taken for an id.
  .route('/', shareRoutes)
  .route('/', searchRoutes)
  .route('/', transferRoutes)
  .route('/', inboxRoutes)
  .post(
    '/',
    doc('Open a chat with an agent', {
      tag,
      errors: ['agent_inactive', 'agent_on_calls_only', 'user_required'],
    }),
    allow('chats:write'),
    body(CreateChat),
    returns(201, Chat),
    async (c) => c.var.reply(await createChat(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List chats, by their last message, newest first', { tag }),
    allow('chats:read'),
    query(listFilters),
    returnsPage(ListedChat),
    async (c) => c.var.reply(await listChats(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a chat with its messages', { tag }),
    allow('chats:read'),
    id,
    returns(200, ChatWithMessages),
    async (c) => c.var.reply(await getChat(c.var.ctx, c.req.valid('param').id)),
  )
  .on(
    ['PUT', 'PATCH'],
    '/:id',
    doc('Rename, archive, pin or tag a chat', {
      tag,
      description: 'What is not sent stays as it is, with `PUT` too.',
      again: stillIn('editor'),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    body(UpdateChat),
    returns(200, Chat),
    async (c) => c.var.reply(await updateChat(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .post(
    '/:id/fork',
    doc('Go on from a message in a chat of your own', {
      tag,
      description:
        'A new chat with a copy of what was said up to the message, its files too. Who may read a chat may fork it.',
      again: stillIn('viewer'),
      errors: ['agent_inactive', 'agent_on_calls_only', 'run_in_progress', 'user_required'],
    }),
    allow('chats:write'),
    id,
    body(ForkChat),
    returns(201, Chat, { location: ({ id }) => `/api/v1/chats/${id}` }),
    async (c) => c.var.reply(await forkChat(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a chat with everything in it', {
      tag,
      again: stillIn('owner'),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteChat(c.var.ctx, c.req.valid('param').id)),
  )
  .route('/', attachmentRoutes)
  .route('/', messageRoutes)
  .route('/', treeRoutes)
  .route('/', peopleRoutes)
