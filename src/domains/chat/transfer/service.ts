import { and, eq, sql } from 'drizzle-orm'
import { actingUser, type Context } from '../../../data/context'
import { newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { putAway } from '../../files/passing'
import type { Job } from '../../jobs/schema'
import { startJob } from '../../jobs/service'
import { agents } from '../agents/table'
import { type Input, importing, stepOf } from './job'
import { type Parsed, parseFile } from './parse'
import { wrong } from './portable'
import type { ImportFile } from './schema'
import { type Coming, takeIn } from './taking-in'

/** Chats that are there when the request is answered; more are taken in afterwards. */
const AT_ONCE = 10
/** Chats of one request. */
export const MOST_CHATS = 2_000

/**
 * Makes chats of the caller's of a file that was exported here or elsewhere: all of them, or none where one is wrong (422
 * with where). Few are there when this is answered; many are a job's work.
 */
export async function importChats(
  ctx: Context,
  file: ImportFile,
  agentId?: string,
): Promise<Job & { version: number }> {
  const user_id = actingUser(ctx)
  if (user_id === null)
    throw problem('user_required', 'A chat belongs to a user, and this key stands for none')
  if (Array.isArray(file) && file.length > MOST_CHATS)
    throw wrong(
      'body',
      `must have at most ${MOST_CHATS.toLocaleString('en')} chats; send the others after these`,
    )
  const parsed = parseFile(ctx, file)
  const answering = await agentsOf(ctx, parsed, agentId)
  const api_key_id = ctx.principal.kind === 'api_key' ? ctx.principal.id : null
  const coming = parsed.map(
    ({ chat }, i): Coming => ({
      ...{ id: newId(ctx.now), user_id, api_key_id },
      ...{ agent_id: answering[i] ?? '', chat },
    }),
  )
  const input: Input = { user_id, chats: coming.length, bytes_id: newId(ctx.now) }
  const audit = (id: string) => ({
    ...{ action: 'chat.import', resource: 'job', resource_id: id },
    after: { chats: coming.length },
  })
  if (coming.length > AT_ONCE) {
    const lines = coming.map((one) => JSON.stringify(one)).join('\n')
    await putAway(ctx, input.bytes_id, lines)
    return startJob(ctx, importing, input, stepOf(input, { taken: 0, ids: [] }, []), audit)
  }
  const changes = []
  for (const one of coming) changes.push(await takeIn(ctx, one))
  const change = {
    statements: changes.flatMap(({ statements }) => statements),
    events: changes.flatMap(({ events }) => events),
  }
  const all = stepOf(input, { taken: coming.length, ids: coming.map(({ id }) => id) }, [])
  return startJob(ctx, importing, input, { ...all, change }, audit)
}

/** Who answers in each chat: the agent that was given, else the one that its file names. 422 where there is none such. */
async function agentsOf(ctx: Context, parsed: readonly Parsed[], given?: string): Promise<string[]> {
  const wanted = parsed.map(({ agentId }) => given ?? agentId)
  const named = JSON.stringify([...new Set(wanted.filter((id) => id !== null))])
  const rows = await ctx.db
    .select({ id: agents.id })
    .from(agents)
    .where(
      and(eq(agents.tenant_id, ctx.tenant.id), sql`${agents.id} in (select value from json_each(${named}))`),
    )
  const there = new Set(rows.map(({ id }) => id))
  return wanted.map((id) => {
    if (id !== null && there.has(id)) return id
    throw problem.invalid({
      agent_id:
        given === undefined
          ? 'must be given: a chat of the file names no agent that there is'
          : 'must be the id of an agent',
    })
  })
}
