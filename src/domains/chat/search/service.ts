import { and, eq, type SQL, sql } from 'drizzle-orm'
import { actingUser, type Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { decodeCursor, encodeCursor } from '../../../lib/cursor'
import { iso } from '../../../lib/ids'
import { matchOf, unmarked, wantedOf } from '../../../lib/words'
import { teamsOf } from '../../tenancy/teams/members'
import { type ChatRow, chats } from '../chats/table'
import { chatShares } from '../shares/table'
import type { SearchFilters } from './schema'
import { CHAT_WORDS, chatFinders, chatTexts } from './table'
import { finderCode, type Part, snippetOf } from './words'

type Found = ChatRow & { snippets: { title: Part[] | null; text: Part[] | null } }

/** Lines of the index that a page looks at for each chat that it may show: some are archived, or were shared until yesterday. */
const LOOKED_AT = 2

/**
 * The caller’s chats, and those that are shared with the caller, in which all the words are, what changed last first. A
 * page may be shorter than was asked for, or empty, with others to come.
 */
export async function searchChats(ctx: Context, filters: SearchFilters): Promise<Page<Found>> {
  const { limit, cursor, q, agent_id, include_archived } = filters
  const user = actingUser(ctx)
  const list = `found chats:${ctx.tenant.id}:${JSON.stringify([user, q, agent_id, include_archived])}`
  const after = cursor === undefined ? null : Number(decodeCursor(list, cursor).key)
  const own = user === null ? [] : [`user:${user}`, ...(await teamsOf(ctx, user)).map((id) => `team:${id}`)]
  const subjects = ['tenant', ...own]
  const wanted = wantedOf(q)
  const match = matchOf(
    wanted,
    subjects.map((subject) => finderCode(subject, ctx.tenant.id)),
  )
  const most = limit * LOOKED_AT + 1
  const hits = await hitsOf(ctx, match, subjects, after, most)
  const rows = await shown(ctx, hits, subjects, filters)
  const byId = new Map(rows.map((row) => [row.chat.id, row]))
  const found = hits.filter(({ chat_id }) => byId.has(chat_id))
  const page = found.slice(0, limit)
  // Beyond the page, or beyond all that was looked at.
  const last = found.length > limit ? page.at(-1) : hits.length === most ? hits.at(-1) : undefined
  const items = page.flatMap(({ chat_id }) => {
    const row = byId.get(chat_id)
    return row ? [{ ...row.chat, snippets: snippetsOf(row, wanted) }] : []
  })
  return { items, next_cursor: last ? encodeCursor(list, { key: last.seq, id: last.chat_id }) : null }
}

type Hit = { seq: number; chat_id: string }

/** The newest lines of the index that match; of a chat’s, which all say the same, the newest alone. */
export function hitsOf(
  ctx: Context,
  match: string,
  subjects: readonly string[],
  after: number | null,
  most: number,
): Promise<Hit[]> {
  return ctx.db.all<Hit>(sql`
    select f.seq as seq, f.chat_id as chat_id
    from ${sql.identifier(CHAT_WORDS)} join ${chatFinders} as f on f.seq = chat_words.rowid
    where chat_words match ${match} and chat_words.rowid < cast(${after ?? Number.MAX_SAFE_INTEGER} as integer)
      and f.tenant_id = ${ctx.tenant.id}
      and not exists (
        select 1 from ${chatFinders} as g where g.tenant_id = ${ctx.tenant.id} and g.chat_id = f.chat_id
          and g.subject in ${listed(subjects)} and g.seq > f.seq)
    order by chat_words.rowid desc limit ${most}`)
}

type Shown = { chat: ChatRow; title: string | null; text: string }

const listed = (texts: readonly string[]): SQL => sql`(select value from json_each(${JSON.stringify(texts)}))`

/** Those of the chats that the caller may read now, as the filters want them. */
function shown(
  ctx: Context,
  hits: readonly Hit[],
  subjects: readonly string[],
  { agent_id, include_archived }: SearchFilters,
): Promise<Shown[]> {
  const mayRead: SQL = sql`(${chats.user_id} = ${actingUser(ctx) ?? ''} or exists (
    select 1 from ${chatShares} where ${chatShares.tenant_id} = ${ctx.tenant.id}
      and ${chatShares.chat_id} = ${chats.id}
      and ${chatShares.subject} in ${listed(subjects)}
      and (${chatShares.expires_at} is null or ${chatShares.expires_at} > ${iso(ctx.now)})))`
  return ctx.db
    .select({
      chat: chats,
      title: sql<string | null>`${chatTexts.title}`.as('found_title'),
      text: chatTexts.text,
    })
    .from(chats)
    .innerJoin(chatTexts, and(eq(chatTexts.tenant_id, chats.tenant_id), eq(chatTexts.chat_id, chats.id)))
    .where(
      and(
        eq(chats.tenant_id, ctx.tenant.id),
        sql`${chats.id} in ${listed(hits.map(({ chat_id }) => chat_id))}`,
        mayRead,
        agent_id === undefined ? undefined : sql`+${chats.agent_id} = ${agent_id}`,
        include_archived ? undefined : sql`not +${chats.is_archived}`,
      ),
    )
}

const snippetsOf = ({ title, text }: Shown, wanted: ReturnType<typeof wantedOf>): Found['snippets'] => ({
  title: snippetOf(unmarked(title ?? ''), wanted),
  text: snippetOf(unmarked(text), wanted),
})
