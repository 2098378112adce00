import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { takeOut } from '../../files/passing'
import { jobKind, type Step } from '../../jobs/kinds'
import { chats } from '../chats/table'
import { type Coming, takeIn } from './taking-in'

/** Chats that one step takes in. */
const SLICE = 10
/** Ids that a job's result names. */
const MOST_NAMED = 100

export type Input = { user_id: string; chats: number; bytes_id: string }
export type State = { taken: number; ids: string[] }

/** Takes chats in, some at a step. They were looked at before it began, so what fails is the service's own fault. */
export const importing = jobKind<Input, State>({
  name: 'chats.import',
  scope: 'chats:write',
  step: async (ctx, { input, state }) => {
    const text = await takeOut(ctx, input.bytes_id)
    if (text === null)
      throw problem('not_found', 'What was to be imported is kept for a day, and is gone: send it again')
    const slice = text.split('\n', state.taken + SLICE).slice(state.taken)
    const coming = slice.filter((line) => line !== '').map((line) => JSON.parse(line) as Coming)
    await takeAll(ctx, coming)
    return stepOf(input, { taken: state.taken + coming.length, ids: coming.map(({ id }) => id) }, state.ids)
  },
})

export function stepOf(input: Pick<Input, 'chats'>, { taken, ids }: State, before: string[]): Step<State> {
  const named = [...before, ...ids].slice(0, MOST_NAMED)
  return {
    state: { taken, ids: named },
    progress: (100 * taken) / Math.max(1, input.chats),
    result: { chats: taken, chat_ids: named },
    done: taken >= input.chats,
  }
}

/** Makes each of the chats that is not there yet, whole or not at all. */
async function takeAll(ctx: Context, coming: readonly Coming[]): Promise<void> {
  const there = await known(
    ctx,
    coming.map(({ id }) => id),
  )
  for (const one of coming) {
    if (there.has(one.id)) continue
    const change = await takeIn(ctx, one)
    await commit(ctx, { ...change, result: undefined })
  }
}

async function known(ctx: Context, ids: readonly string[]): Promise<Set<string>> {
  const rows = await ctx.db
    .select({ id: chats.id })
    .from(chats)
    .where(
      and(
        eq(chats.tenant_id, ctx.tenant.id),
        inArray(chats.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
      ),
    )
  return new Set(rows.map(({ id }) => id))
}
