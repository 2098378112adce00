import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, query, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { FoundChat, searchFilters } from './schema'
import { searchChats } from './service'

export const searchRoutes = new Hono<AppEnv>().get(
  '/search',
  doc('Search your chats, and those that are shared with you', {
    tag: 'Chats',
    description:
      'By their titles and the last 8 KiB of what was said, what changed last first. All words must be there, in any order, or words that begin with them; case and accents do not matter. A page may be short or empty; it goes on until `next_cursor` is null.',
  }),
  allow('chats:read'),
  query(searchFilters),
  returnsPage(FoundChat),
  async (c) => c.var.reply(await searchChats(c.var.ctx, c.req.valid('query'))),
)
