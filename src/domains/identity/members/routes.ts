import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { User } from '../users/schema'
import { listUsers } from './list'
import { CreateUser, UpdateUser, userFilters } from './schema'
import { createUser, deleteUser, getUser, updateUser } from './service'

const tag = 'Users'
const id = params({ id: Id })

/** The users of a tenant, for its administrators. */
export const memberRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Add a user', {
      tag,
      description:
        'Without a password, the user gets a mail to choose one. Whoever should decide for themselves is invited instead.',
      errors: ['already_exists', 'user_limit_reached', 'login_busy'],
      secret: ['password'],
    }),
    allow('users:write'),
    body(CreateUser),
    returns(201, User),
    async (c) => c.var.reply(await createUser(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List users', { tag, description: 'Newest first.' }),
    allow('users:read'),
    query(userFilters),
    returnsPage(User),
    async (c) => c.var.reply(await listUsers(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read a user', { tag }), allow('users:read'), id, returns(200, User), async (c) =>
    c.var.reply(await getUser(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a user’s role, status or name', {
      tag,
      description:
        'A change of role ends the access tokens issued before it; `suspended` ends the user’s sessions. Everywhere within ten seconds. One active admin stays.',
      errors: ['last_admin', 'platform_only'],
    }),
    allow('users:write'),
    id,
    body(UpdateUser),
    returns(200, User),
    async (c) => c.var.reply(await updateUser(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Remove a user', {
      tag,
      description:
        'With sessions, API keys, teams and ways to log in. Chats and whatever else the user made stay the tenant’s.',
      errors: ['last_admin', 'platform_only'],
    }),
    allow('users:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteUser(c.var.ctx, c.req.valid('param').id)),
  )
