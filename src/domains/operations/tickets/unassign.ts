import { and, asc, eq, exists, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { onDeparture } from '../../../data/departures'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { jobKind, type Step } from '../../jobs/kinds'
import { jobStarted } from '../../jobs/service'
import { sayTicket } from './channel'
import { tickets } from './table'
import { updated } from './told'
import { findByWords } from './words'

// Nobody works on what somebody worked on who is gone. What they opened or said stays theirs.

/** Tickets of one step: each is some statements of its batch. */
const OF_STEP = 20

type Input = { user_id: string }
type State = { done: number }

const unassigning = jobKind<Input, State>({
  name: 'tickets.unassign',
  scope: 'tickets:admin',
  step: (ctx, { input, state }) => stepOf(ctx, input, state),
})

const theirs = (ctx: Context, userId: string) =>
  and(eq(tickets.tenant_id, ctx.tenant.id), eq(tickets.assignee_id, userId))

/** Takes some of the tickets from who is gone, each with its event. Nobody can be given one any more. */
async function stepOf(ctx: Context, input: Input, { done }: State): Promise<Step<State>> {
  const rows = await ctx.db
    .select()
    .from(tickets)
    .where(theirs(ctx, input.user_id))
    .orderBy(asc(tickets.id))
    .limit(OF_STEP)
  const set = { assignee_id: null, updated_at: iso(ctx.now) }
  const changes = rows.map(({ seq: _, ...before }) => {
    const after = { ...before, ...set, version: before.version + 1 }
    const same = and(
      theirs(ctx, input.user_id),
      eq(tickets.id, before.id),
      eq(tickets.version, before.version),
    )
    const statement = ctx.db
      .update(tickets)
      .set({ ...set, version: after.version })
      .where(same)
    // The step is made again, and then it is seen how the ticket stands.
    const otherwise = problem('service_unavailable', 'A ticket was changed meanwhile')
    return {
      after,
      events: updated(before, after),
      statements: [{ statement, otherwise }, findByWords(ctx, after)],
    }
  })
  const state = { done: done + rows.length }
  return {
    state,
    progress: 0,
    result: { tickets: state.done },
    done: rows.length < OF_STEP,
    change: {
      statements: changes.flatMap(({ statements }) => statements),
      events: changes.flatMap(({ events }) => events),
    },
    after: () => Promise.all(changes.map(({ after }) => sayTicket(ctx, after, null))),
  }
}

onDeparture(async (ctx, departed) => {
  if (departed.kind !== 'user') return {}
  const some = ctx.db.select({ id: tickets.id }).from(tickets).where(theirs(ctx, departed.id)).limit(1)
  if ((await some).length === 0) {
    const otherwise = problem('conflict', 'A ticket was assigned to the user meanwhile; remove them again')
    return { statements: [{ holds: sql`not ${exists(some)}`, otherwise }] }
  }
  const first = { state: { done: 0 }, progress: 0, result: { tickets: 0 }, done: false }
  const { statements, after } = jobStarted(ctx, unassigning, { user_id: departed.id }, first)
  return { statements, afterwards: after }
})
