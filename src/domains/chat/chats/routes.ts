import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { messageRoutes } from '../messages/routes'
import { shareRoutes } from '../shares/routes'
import { Chat, ChatWithMessages, CreateChat, ListedChat, listFilters, UpdateChat } from './schema'
import { checkEntry, createChat, deleteChat, getChat, listChats, updateChat } from './service'

const tag = 'Chats'
const id = params({ id: Id })

export const chats = new Hono<AppEnv>()
  // Before what is taken for an id.
  .route('/', shareRoutes)
  .post(
    '/',
    doc('Open a chat with an agent', { tag, errors: ['agent_inactive', 'user_required'] }),
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
      again: (ctx, { id = '' }) => checkEntry(ctx, id),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    body(UpdateChat),
    returns(200, Chat),
    async (c) => c.var.reply(await updateChat(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a chat with everything in it', { tag, errors: ['chat_role_required'] }),
    allow('chats:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteChat(c.var.ctx, c.req.valid('param').id)),
  )
  .route('/', messageRoutes)
