import { and, desc, eq, lt, type SQL, sql } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { Problem, problem } from '../../../lib/problem'
import { noteComing, staying } from '../../files/passing'
import { newFile } from '../../files/presign'
import { getReadyFile } from '../../files/service'
import { storageHolds } from '../../files/storage'
import { keyOf } from '../../files/store'
import { type FileRow, files } from '../../files/table'
import { beginsAs, HEAD_BYTES } from '../../files/types'
import { chats } from '../chats/table'
import { callerOf } from '../room/caller'
import { enter, type Level } from '../shares/standing'
import { attachedFile, attachmentOf } from './named'
import { chatAttachments } from './table'

/** Files of one chat. */
const MOST_OF_CHAT = 1_000
/** What an attachment is for: it goes with the last chat that has it. */
const PURPOSE = 'attachment'

const ofChat = (ctx: Context, chatId: string) =>
  and(eq(chatAttachments.tenant_id, ctx.tenant.id), eq(chatAttachments.chat_id, chatId))

const joined = and(eq(files.tenant_id, chatAttachments.tenant_id), eq(files.id, chatAttachments.file_id))

/** 404 or 403 where the caller may not do that much in the chat. */
async function entered(ctx: Context, chatId: string, required: Level): Promise<void> {
  const chat = await find(ctx, chats, chatId)
  if (!chat) throw problem.notFound('chat', chatId)
  await enter(ctx, callerOf(ctx), chat, required)
}

type Attached = Omit<typeof chatAttachments.$inferSelect, 'tenant_id'>

const shown = (row: FileRow, { chat_id, created_by, created_at }: Attached) => ({
  ...attachmentOf(row),
  ...{ chat_id, created_by, created_at, url: `/api/v1/chats/${chat_id}/attachments/${row.id}` },
})
type Shown = ReturnType<typeof shown>

export type Sent = { name: string; content_type: string; bytes: Blob }

/** Keeps a file and attaches it to a chat. 404, 403; 422 where it is not what it says, 409 beyond the storage. */
export async function addAttachment(ctx: Context, chatId: string, sent: Sent): Promise<Shown> {
  await entered(ctx, chatId, 'editor')
  const { name, content_type, bytes } = sent
  if (!beginsAs(content_type, new Uint8Array(await bytes.slice(0, HEAD_BYTES).arrayBuffer())))
    throw problem.invalid({ file: `must be what it says: these bytes are no ${content_type}` })
  const file = newFile(ctx, { filename: name, content_type, size: bytes.size, purpose: PURPOSE })
  await noteComing(ctx, file.id)
  const object = await ctx.env.FILES.put(keyOf(file), bytes, { httpMetadata: { contentType: content_type } })
  const row: FileRow = { ...file, status: 'ready', etag: object.etag, expires_at: null }
  const made = [ctx.db.insert(files).values(row), storageHolds(ctx), staying(ctx, file.id)]
  return attached(ctx, chatId, row, made).catch((refusal: unknown) => {
    // Only what was refused stands nowhere: after any other failure the row may name it.
    if (refusal instanceof Problem) ctx.defer(ctx.env.FILES.delete(keyOf(row)))
    throw refusal
  })
}

/** Attaches a file of the caller’s own to a chat; again, it stays as it is. 404, 403, 409 `upload_incomplete`. */
export async function attachFile(ctx: Context, chatId: string, fileId: string): Promise<Shown> {
  await entered(ctx, chatId, 'editor')
  const before = await attachedFile(ctx, chatId, fileId)
  if (before) return shown(before.file, before.attached)
  return attached(ctx, chatId, await getReadyFile(ctx, fileId), [])
}

async function attached(
  ctx: Context,
  chatId: string,
  file: FileRow,
  before: Parameters<typeof commit>[1]['statements'],
): Promise<Shown> {
  const row = { chat_id: chatId, file_id: file.id, created_by: actingUser(ctx), created_at: iso(ctx.now) }
  const gone = (holds: SQL, resource: string, id: string): Check => ({
    holds,
    otherwise: problem.notFound(resource, id),
  })
  return commit(ctx, {
    statements: [
      gone(
        sql`exists (select 1 from ${chats} where tenant_id = ${ctx.tenant.id} and id = ${chatId})`,
        'chat',
        chatId,
      ),
      ...before,
      gone(
        sql`exists (select 1 from ${files} where tenant_id = ${ctx.tenant.id} and id = ${file.id})`,
        'file',
        file.id,
      ),
      ctx.db
        .insert(chatAttachments)
        .values({ tenant_id: ctx.tenant.id, ...row })
        .onConflictDoNothing(),
      {
        holds: sql`(select count(*) from ${chatAttachments} where ${ofChat(ctx, chatId)}) <= ${MOST_OF_CHAT}`,
        otherwise: problem('conflict', `A chat has ${MOST_OF_CHAT} files at most`, {
          details: { limit: MOST_OF_CHAT },
        }),
      },
    ],
    result: shown(file, row),
  })
}

/** A chat’s files, newest first. 404 for who may not read it. */
export async function listAttachments(
  ctx: Context,
  chatId: string,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Shown>> {
  await entered(ctx, chatId, 'viewer')
  return pageOf(`attachments:${ctx.tenant.id}:${chatId}`, input, async (after, most) => {
    const rows = await ctx.db
      .select({ file: files, attached: chatAttachments })
      .from(chatAttachments)
      .innerJoin(files, joined)
      .where(and(ofChat(ctx, chatId), after ? lt(chatAttachments.file_id, after.id) : undefined))
      .orderBy(desc(chatAttachments.file_id))
      .limit(most)
    return rows.map((row) => shown(row.file, row.attached))
  })
}

/** A file of a chat for who may read the chat; 404 otherwise. */
export async function getAttachment(ctx: Context, chatId: string, fileId: string): Promise<FileRow> {
  await entered(ctx, chatId, 'viewer')
  const row = await attachedFile(ctx, chatId, fileId)
  if (!row) throw problem.notFound('attachment', fileId)
  return row.file
}

/** Takes a file out of a chat; one that was only there is deleted. Messages that name it show its name alone. */
export async function detachFile(ctx: Context, chatId: string, fileId: string): Promise<undefined> {
  await entered(ctx, chatId, 'editor')
  if (!(await attachedFile(ctx, chatId, fileId))) throw problem.notFound('attachment', fileId)
  return commit(ctx, { statements: withoutAttachments(ctx, chatId, fileId), result: undefined })
}

/** The statements that take its files, or one of them, out of a chat, with those that no other chat has. */
export function withoutAttachments(ctx: Context, chatId: string, fileId?: string) {
  const of = and(ofChat(ctx, chatId), fileId === undefined ? undefined : eq(chatAttachments.file_id, fileId))
  const these = sql`(select ${chatAttachments.file_id} from ${chatAttachments} where ${of})`
  // A column more than an index has, here and of the files: one that had all would be read whole.
  const elsewhere = sql`exists (select 1 from chat_attachments as o
    where o.tenant_id = ${ctx.tenant.id} and o.file_id = ${files.id} and o.chat_id <> ${chatId} and o.created_at <> '')`
  return [
    ctx.db
      .delete(files)
      .where(
        and(
          eq(files.tenant_id, ctx.tenant.id),
          sql`${files.id} in ${these}`,
          eq(files.purpose, PURPOSE),
          eq(files.status, 'ready'),
          sql`not ${elsewhere}`,
        ),
      ),
    ctx.db.delete(chatAttachments).where(of),
  ]
}

/** The statement that gives a chat all the files of another: what was copied from that names them. */
export const withAttachmentsOf = (ctx: Context, chatId: string, from: string) =>
  ctx.db.insert(chatAttachments).select(
    ctx.db
      .select({
        tenant_id: sql<string>`${ctx.tenant.id}`.as('tenant_id'),
        chat_id: sql<string>`${chatId}`.as('chat_id'),
        file_id: chatAttachments.file_id,
        created_by: chatAttachments.created_by,
        created_at: chatAttachments.created_at,
      })
      .from(chatAttachments)
      .where(ofChat(ctx, from)),
  )

/** The statement that gives a chat those of the files that are this user’s own. Not async: it goes into a batch. */
export const withOwnFiles = (ctx: Context, chatId: string, userId: string, ids: readonly string[]) =>
  ctx.db.insert(chatAttachments).select(
    ctx.db
      .select({
        tenant_id: files.tenant_id,
        chat_id: sql<string>`${chatId}`.as('chat_id'),
        file_id: files.id,
        created_by: files.user_id,
        created_at: sql<string>`${iso(ctx.now)}`.as('attached_at'),
      })
      .from(files)
      .where(
        and(
          eq(files.tenant_id, ctx.tenant.id),
          sql`${files.id} in (select value from json_each(${JSON.stringify(ids)}))`,
          sql`+${files.user_id} = ${userId}`,
          sql`+${files.status} = 'ready'`,
        ),
      )
      .limit(MOST_OF_CHAT),
  )
