import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { listInvitations } from './list'
import { CreateInvitation, Invitation, invitationFilters } from './schema'
import { getInvitation, invite, resendInvitation, revokeInvitation } from './service'

const tag = 'Users'
const id = params({ id: Id })

/** Invitations to join a tenant; they are accepted by `POST /api/v1/auth/register`. */
export const invitationRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Invite somebody', {
      tag,
      description:
        'The mail’s link works once, within seven days, for this address alone: with its token the address registers (`POST /api/v1/auth/register`).',
      errors: ['already_exists', 'user_limit_reached'],
    }),
    allow('users:write'),
    body(CreateInvitation),
    returns(201, Invitation),
    async (c) => c.var.reply(await invite(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List invitations', { tag }),
    allow('users:read'),
    query(invitationFilters),
    returnsPage(Invitation),
    async (c) => c.var.reply(await listInvitations(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an invitation', { tag }),
    allow('users:read'),
    id,
    returns(200, Invitation),
    async (c) => c.var.reply(await getInvitation(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/resend',
    doc('Send an invitation again', {
      tag,
      description: 'With a new link, good for seven days; the one before is void. One that has expired too.',
      errors: ['invitation_used', 'invitation_revoked'],
    }),
    allow('users:write'),
    id,
    returns(200, Invitation),
    async (c) => c.var.reply(await resendInvitation(c.var.ctx, c.req.valid('param').id)),
  )
  .delete(
    '/:id',
    doc('Revoke an invitation', {
      tag,
      description: 'It stays in the list.',
      errors: ['invitation_used', 'invitation_revoked'],
    }),
    allow('users:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await revokeInvitation(c.var.ctx, c.req.valid('param').id)),
  )
