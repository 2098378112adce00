import { and, desc, eq, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { departing, onDeparture } from '../../../data/departures'
import { type Page, pageOf } from '../../../data/page'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tokensEnd } from '../../identity/outdated'
import { isUser } from '../../identity/users/exists'
import { users } from '../../identity/users/table'
import { getTeam, isTeam } from './service'
import { teamMembers } from './table'

/** So many teams may one user be in: what is shared with a user’s teams is looked for team by team. */
export const MOST_TEAMS = 100

const view = {
  team_id: teamMembers.team_id,
  user_id: teamMembers.user_id,
  email: users.email,
  full_name: users.full_name,
  role: users.role,
  status: users.status,
  created_at: teamMembers.created_at,
}

type Member = Pick<typeof users.$inferSelect, 'email' | 'full_name' | 'role' | 'status'> &
  Pick<typeof teamMembers.$inferSelect, 'team_id' | 'user_id' | 'created_at'>

const membersOf = (ctx: Context, teamId: string, userId?: string) =>
  and(
    eq(teamMembers.tenant_id, ctx.tenant.id),
    eq(teamMembers.team_id, teamId),
    userId === undefined ? undefined : eq(teamMembers.user_id, userId),
  )

const select = (ctx: Context) =>
  ctx.db
    .select(view)
    .from(teamMembers)
    .innerJoin(users, and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, teamMembers.user_id)))

/** Who is in a team, newest users first. 404. */
export async function listMembers(
  ctx: Context,
  teamId: string,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Member>> {
  await getTeam(ctx, teamId)
  return pageOf(`team members:${ctx.tenant.id}:${teamId}`, input, async (after, limit) => {
    const rows = await select(ctx)
      .where(and(membersOf(ctx, teamId), after ? lt(teamMembers.user_id, after.id) : undefined))
      .orderBy(desc(teamMembers.user_id))
      .limit(limit)
    return rows.map((row) => ({ ...row, id: row.user_id }))
  })
}

const member = (ctx: Context, teamId: string, userId: string): Promise<Member | undefined> =>
  select(ctx)
    .where(membersOf(ctx, teamId, userId))
    .get()

/** Takes a user into a team, who may be in it already; ends the access tokens of before. 404 where there is no such team or user. */
export async function addMember(ctx: Context, teamId: string, userId: string): Promise<Member> {
  await getTeam(ctx, teamId)
  const own = and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, userId))
  const user = await ctx.db.select().from(users).where(own).get()
  if (!user) throw problem.notFound('user', userId)
  const known = await member(ctx, teamId, userId)
  if (known) return known
  const { email, full_name, role, status } = user
  const row = { team_id: teamId, user_id: userId, created_at: iso(ctx.now) }
  const raced = problem('conflict', 'The user came into the team meanwhile')
  const all = and(eq(teamMembers.tenant_id, ctx.tenant.id), eq(teamMembers.user_id, userId))
  try {
    return await commit(ctx, {
      statements: [
        { holds: isTeam(ctx, teamId), otherwise: problem.notFound('team', teamId) },
        {
          holds: isUser(ctx, userId),
          otherwise: problem.notFound('user', userId),
        },
        {
          holds: sql`(select count(*) from ${teamMembers} where ${all}) < ${MOST_TEAMS}`,
          otherwise: problem('team_limit_reached', `The user is in ${MOST_TEAMS} teams already`, {
            details: { limit: MOST_TEAMS },
          }),
        },
        ctx.db.insert(teamMembers).values({ ...row, tenant_id: ctx.tenant.id, added_by: actingUser(ctx) }),
      ],
      result: { ...row, email, full_name, role, status },
      audit: audited('team.add_member', teamId, { after: { user_id: userId } }),
      events: [event('added', teamId, userId)],
      tell: [tokensEnd(userId)],
      unique: { 'team_members.user_id': raced },
    })
  } catch (error) {
    const winner = error === raced ? await member(ctx, teamId, userId) : undefined
    if (winner) return winner
    throw error
  }
}

/** Takes a user out of a team, and with it what was shared with the user by that; ends the access tokens of before. 404. */
export async function removeMember(ctx: Context, teamId: string, userId: string): Promise<undefined> {
  await getTeam(ctx, teamId)
  const along = await departing(ctx, { kind: 'member', id: userId, team_id: teamId })
  await commit(ctx, {
    statements: [
      {
        statement: ctx.db.delete(teamMembers).where(membersOf(ctx, teamId, userId)),
        otherwise: problem.notFound('member', userId),
      },
      ...along.statements,
    ],
    result: undefined,
    audit: audited('team.remove_member', teamId, { before: { user_id: userId } }),
    events: [event('removed', teamId, userId)],
    tell: [tokensEnd(userId)],
  })
  ctx.defer(along.afterwards())
}

const event = (verb: 'added' | 'removed', team_id: string, user_id: string) => ({
  ...{ type: `team.member.${verb}`, data: { team_id, user_id }, subject: user_id },
})

const audited = (action: string, resource_id: string, what: { before?: object; after?: object }) => ({
  ...{ action, resource: 'team', resource_id },
  ...(what as Record<'before' | 'after', Record<string, unknown>>),
})

onDeparture((ctx, { kind, id }) => {
  if (kind !== 'user') return {}
  const own = and(eq(teamMembers.tenant_id, ctx.tenant.id), eq(teamMembers.user_id, id))
  return { statements: [ctx.db.delete(teamMembers).where(own)] }
})

/** The teams that a user is in, at most MOST_TEAMS. */
export async function teamsOf(ctx: Context, userId: string): Promise<string[]> {
  const rows = await ctx.db
    .select({ team_id: teamMembers.team_id })
    .from(teamMembers)
    .where(and(eq(teamMembers.tenant_id, ctx.tenant.id), eq(teamMembers.user_id, userId)))
  return rows.map(({ team_id }) => team_id)
}

/** A condition within a statement: the user is in the team that another table’s row names. */
export const inTeam = (ctx: Context, teamId: SQL, userId: SQL): SQL =>
  sql`exists (select 1 from ${teamMembers} where ${teamMembers.tenant_id} = ${ctx.tenant.id}
    and ${teamMembers.team_id} = ${teamId} and ${teamMembers.user_id} = ${userId})`
