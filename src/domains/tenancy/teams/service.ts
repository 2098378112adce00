import { and, desc, eq, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { departing } from '../../../data/departures'
import { type Page, pageOf } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { EVERYBODY } from '../../identity/knowledge'
import { tokensEnd, tokensEndOf } from '../../identity/outdated'
import type { CreateTeam, TeamFilters, UpdateTeam } from './schema'
import { type TeamRow, teamMembers, teams } from './table'

/** A change for each of more than these would keep isolates that are new from others: then it is one for all. */
const MOST_TOLD = 500

const keyOf = (name: string): string => name.normalize('NFKC').toLowerCase()

const taken = (name: string) => problem('already_exists', `There is a team with the name ${name} already`)

const event = (verb: 'created' | 'updated' | 'deleted', { id, name, description }: TeamRow) => ({
  type: `team.${verb}`,
  data: { team_id: id, name, description },
})

/** Makes a team, still without members. 409 where another has its name. */
export function createTeam(ctx: Context, { name, description = null }: CreateTeam): Promise<TeamRow> {
  const now = iso(ctx.now)
  const row: TeamRow = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    name,
    name_key: keyOf(name),
    description,
    created_by: actingUser(ctx),
    version: 1,
    created_at: now,
    updated_at: now,
  }
  return commit(ctx, {
    statements: [ctx.db.insert(teams).values(row)],
    result: row,
    audit: { action: 'team.create', resource: 'team', resource_id: row.id, after: { name, description } },
    events: [event('created', row)],
    unique: { 'teams.name_key': taken(name) },
  })
}

/** The tenant’s teams, or those that one user is in, newest first. */
export function listTeams(ctx: Context, { limit, cursor, ...by }: TeamFilters): Promise<Page<TeamRow>> {
  const { user_id, name } = by
  const list = `teams:${ctx.tenant.id}:${JSON.stringify(by)}`
  return pageOf(list, { limit, cursor }, (after, most) => {
    const named = name === undefined ? undefined : eq(teams.name_key, keyOf(name))
    const older = after ? lt(teams.id, after.id) : undefined
    const wanted = and(eq(teams.tenant_id, ctx.tenant.id), named)
    if (user_id === undefined)
      return ctx.db.select().from(teams).where(and(wanted, older)).orderBy(desc(teams.id)).limit(most)
    return ofUser(ctx, user_id, wanted, after?.id, most)
  })
}

/** By the index of memberships, which has a user’s teams in this order. */
async function ofUser(
  ctx: Context,
  userId: string,
  wanted: ReturnType<typeof and>,
  after: string | undefined,
  most: number,
): Promise<TeamRow[]> {
  const rows = await ctx.db
    .select({ team: teams })
    .from(teamMembers)
    .innerJoin(teams, and(eq(teams.tenant_id, ctx.tenant.id), eq(teams.id, teamMembers.team_id)))
    .where(
      and(
        eq(teamMembers.tenant_id, ctx.tenant.id),
        eq(teamMembers.user_id, userId),
        after === undefined ? undefined : lt(teamMembers.team_id, after),
        wanted,
      ),
    )
    .orderBy(desc(teamMembers.team_id))
    .limit(most)
  return rows.map(({ team }) => team)
}

/** One team; 404. */
export async function getTeam(ctx: Context, id: string): Promise<TeamRow> {
  const row = await find(ctx, teams, id)
  if (!row) throw problem.notFound('team', id)
  return row
}

/** Changes a team’s name or description. 404, 412, or 409 where another team has the name. */
export function updateTeam(ctx: Context, id: string, input: UpdateTeam): Promise<TeamRow> {
  const { name } = input
  return revise(ctx, teams, 'team', id, (before) => {
    const set = { ...defined(input), ...(name === undefined ? {} : { name_key: keyOf(name) }) }
    const audited = ({ name, description }: TeamRow) => ({ name, description })
    const after = { ...before, ...set }
    return {
      set,
      audit: {
        action: 'team.update',
        resource: 'team',
        resource_id: id,
        before: audited(before),
        after: audited(after),
      },
      events: [event('updated', after)],
      unique: { 'teams.name_key': taken(name ?? '') },
    }
  })
}

/** Deletes a team: nobody is in it any more, and what was shared with it no longer is; ends its members' access tokens of before. 404, 412. */
export async function deleteTeam(ctx: Context, id: string): Promise<undefined> {
  const row = await getTeam(ctx, id)
  const along = await departing(ctx, { kind: 'team', id })
  const members = and(eq(teamMembers.tenant_id, ctx.tenant.id), eq(teamMembers.team_id, id))
  const some = await ctx.db
    .select({ id: teamMembers.user_id })
    .from(teamMembers)
    .where(members)
    .limit(MOST_TOLD)
  const isLarge = some.length === MOST_TOLD
  const { name, description } = row
  await commit(ctx, {
    statements: [
      removal(ctx, teams, 'team', id),
      ctx.db.delete(teamMembers).where(members),
      ...along.statements,
    ],
    result: undefined,
    audit: { action: 'team.delete', resource: 'team', resource_id: id, before: { name, description } },
    events: [event('deleted', row)],
    tell: [
      isLarge
        ? tokensEnd(EVERYBODY)
        : tokensEndOf({ from: sql`${teamMembers} where ${members}`, id: sql`user_id` }),
    ],
  })
  ctx.defer(along.afterwards())
}

/** A condition for `commit`: the tenant has this team. */
export const isTeam = (ctx: Context, id: string) =>
  sql`exists (select 1 from ${teams} where ${and(eq(teams.tenant_id, ctx.tenant.id), eq(teams.id, id))})`
