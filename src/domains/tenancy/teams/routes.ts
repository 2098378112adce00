import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../authorize'
import { addMember, listMembers, removeMember } from './members'
import { CreateTeam, Team, TeamMember, teamFilters, UpdateTeam } from './schema'
import { createTeam, deleteTeam, getTeam, listTeams, updateTeam } from './service'

const tag = 'Teams'
const id = params({ id: Id })
const member = params({ id: Id, user_id: Id })

export const teamRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Make a team', { tag, errors: ['already_exists'] }),
    allow('teams:write'),
    body(CreateTeam),
    returns(201, Team),
    async (c) => c.var.reply(await createTeam(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List teams, newest first', { tag }),
    allow('teams:read'),
    query(teamFilters),
    returnsPage(Team),
    async (c) => c.var.reply(await listTeams(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read a team', { tag }), allow('teams:read'), id, returns(200, Team), async (c) =>
    c.var.reply(await getTeam(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Rename or describe a team', { tag, errors: ['already_exists'] }),
    allow('teams:write'),
    id,
    body(UpdateTeam),
    returns(200, Team),
    async (c) => c.var.reply(await updateTeam(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a team', {
      tag,
      description: 'Its members stay users of the tenant. What was shared with the team no longer is.',
    }),
    allow('teams:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteTeam(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/members',
    doc('List who is in a team, newest users first', { tag }),
    allow('teams:read'),
    id,
    query(paging),
    returnsPage(TeamMember),
    async (c) => c.var.reply(await listMembers(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .put(
    '/:id/members/:user_id',
    doc('Take a user into a team', {
      tag,
      description: 'Done again, it changes nothing. The user’s access tokens of before end.',
      errors: ['team_limit_reached'],
    }),
    allow('teams:write'),
    member,
    returns(200, TeamMember),
    async (c) => {
      const { id, user_id } = c.req.valid('param')
      return c.var.reply(await addMember(c.var.ctx, id, user_id))
    },
  )
  .delete(
    '/:id/members/:user_id',
    doc('Take a user out of a team', {
      tag,
      description:
        'What was shared with the team is not shared with the user any more, within seconds. The user’s access tokens of before end.',
    }),
    allow('teams:write'),
    member,
    returnsNothing(),
    async (c) => {
      const { id, user_id } = c.req.valid('param')
      return c.var.reply(await removeMember(c.var.ctx, id, user_id))
    },
  )
