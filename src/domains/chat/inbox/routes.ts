import { Hono } from 'hono'
import { actingUser } from '../../../data/context'
import type { AppEnv } from '../../../http/app-env'
import { doc, returns } from '../../../http/route'
import { problem } from '../../../lib/problem'
import { allow } from '../../tenancy/authorize'
import '../room/channel'
import './channel'
import { inboxOf } from './list'
import { Inbox } from './schema'

export const inboxRoutes = new Hono<AppEnv>().get(
  '/inbox',
  doc('See which of your chats have something unread', {
    tag: 'Chats',
    description:
      'Of your latest 100 chats, and of as many that others share with you by name. The channel `inbox:{user_id}` tells of changes (docs/realtime.md).',
    errors: ['user_required'],
  }),
  allow('chats:read'),
  returns(200, Inbox),
  async (c) => {
    const user = actingUser(c.var.ctx)
    if (user === null)
      throw problem('user_required', 'An inbox belongs to a user, and this key stands for none')
    return c.var.reply(await inboxOf(c.var.ctx, user))
  },
)
