import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, paging, params, query, returns, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { Conversation, ConversationId, ConversationWithInteractions, listFilters } from './schema'
import { getConversation, listConversations } from './service'

const tag = 'Interactions'

export const conversationRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List conversations, those that began last first', { tag }),
    allow('interactions:read'),
    query(listFilters),
    returnsPage(Conversation),
    async (c) => c.var.reply(await listConversations(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a conversation with what was said in it', {
      tag,
      description: '`limit` and `cursor` are of its interactions; the next page is asked with `next_cursor`.',
    }),
    allow('interactions:read'),
    params({ id: ConversationId }),
    query(paging),
    returns(200, ConversationWithInteractions),
    async (c) => c.var.reply(await getConversation(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
