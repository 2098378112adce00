import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type FileRow, files } from '../../files/table'
import { cut } from '../room/log/protocol'
import type { Attachment } from './schema'
import { chatAttachments } from './table'

/** Of a name, in an event that must have room for eight and some text. */
const NAME_BYTES = 80

/** A name as a message shows it: its first 80 bytes as JSON. */
export const shownName = (name: string): string => cut(name, NAME_BYTES)[0]

/** A file as a message shows it. */
export const attachmentOf = ({ id, filename, content_type, size }: FileRow) => ({
  ...{ id, name: shownName(filename), content_type, size },
})

/** Those of the files that are attached to a chat. */
export async function filesOfChat(
  ctx: Context,
  chatId: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Attachment>> {
  if (ids.length === 0) return new Map()
  const rows = await ctx.db
    .select({ file: files })
    .from(chatAttachments)
    .innerJoin(
      files,
      and(eq(files.tenant_id, chatAttachments.tenant_id), eq(files.id, chatAttachments.file_id)),
    )
    .where(
      and(
        eq(chatAttachments.tenant_id, ctx.tenant.id),
        eq(chatAttachments.chat_id, chatId),
        sql`${chatAttachments.file_id} in (select value from json_each(${JSON.stringify(ids)}))`,
      ),
    )
  return new Map(rows.map(({ file }) => [file.id, attachmentOf(file)]))
}

/** A file of a chat, and how it came there; null where the chat has none of that id. */
export async function attachedFile(ctx: Context, chatId: string, fileId: string) {
  const row = await ctx.db
    .select({ file: files, attached: chatAttachments })
    .from(chatAttachments)
    .innerJoin(
      files,
      and(eq(files.tenant_id, chatAttachments.tenant_id), eq(files.id, chatAttachments.file_id)),
    )
    .where(
      and(
        eq(chatAttachments.tenant_id, ctx.tenant.id),
        eq(chatAttachments.chat_id, chatId),
        eq(chatAttachments.file_id, fileId),
      ),
    )
    .get()
  return row ?? null
}
