import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { utf8 } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { chats } from '../chats/table'
import type { TreeMessage } from '../messages/schema'
import { ask } from '../room/client'
import { FORMAT } from './schema'

/** Messages that are asked for at once; long ones come fewer. */
const PAGE = 100

export type Format = 'json' | 'markdown'

export const FILES: Record<Format, { contentType: string; extension: string }> = {
  json: { contentType: 'application/json; charset=utf-8', extension: 'json' },
  markdown: { contentType: 'text/markdown; charset=utf-8', extension: 'md' },
}

type Page = { items: TreeMessage[]; more: boolean }
type Head = { title: string | null; about: Record<string, unknown> }

/**
 * A chat as a file, of whatever length: it is written page by page, as the reader takes it. 404 for who may not read it.
 * One that breaks off was not read to its end, and is no whole document.
 */
export async function exportChat(
  ctx: Context,
  id: string,
  format: Format,
): Promise<{ body: ReadableStream<Uint8Array>; bytes: Promise<number>; name: string }> {
  const row = await find(ctx, chats, id)
  if (!row) throw problem.notFound('chat', id)
  // Who may not read the chat is told so by the object, before anything is sent.
  const first = await ask(ctx, id, 'messages', { after: null, limit: PAGE })
  const { title, agent_id, is_archived, is_pinned, tags, metadata, created_at } = row
  const about = { id, title, agent_id, is_archived, is_pinned, tags, metadata, created_at }
  const pages = pagesOf(ctx, id, first)
  const text =
    format === 'json' ? asJson({ title, about }, pages, iso(ctx.now)) : asMarkdown({ title, about }, pages)
  return { ...streamed(text), name: `chat-${id}.${FILES[format].extension}` }
}

async function* pagesOf(ctx: Context, id: string, first: Page): AsyncGenerator<TreeMessage[], void> {
  for (let page = first; ; ) {
    yield page.items
    const after = page.items.at(-1)?.id
    if (!page.more || after === undefined) return
    page = await ask(ctx, id, 'messages', { after, limit: PAGE })
  }
}

async function* asJson(
  { about }: Head,
  pages: AsyncGenerator<TreeMessage[], void>,
  exported_at: string,
): AsyncGenerator<string, void> {
  const head = JSON.stringify({ format: FORMAT, version: 1, exported_at, chat: about })
  yield `${head.slice(0, -1)},"messages":[`
  let active_leaf: string | null = null
  let comma = ''
  for await (const page of pages)
    for (const message of page) {
      // None comes before the one that it follows: the last that is shown is the end of the branch.
      if (message.is_active) active_leaf = message.id
      yield `${comma}\n${JSON.stringify(portable(message))}`
      comma = ','
    }
  yield `\n],"active_leaf":${JSON.stringify(active_leaf)}}\n`
}

/** What of a message makes sense elsewhere. */
function portable(message: TreeMessage) {
  const { id, parent_id, role, content, status, attachments, metadata, timestamp, feedback } = message
  const kept = { id, parent_id, role, content, status, attachments, metadata, timestamp }
  return feedback ? { ...kept, feedback } : kept
}

const SPEAKERS = { user: 'User', assistant: 'Assistant', system: 'System' }

async function* asMarkdown(
  { title }: Head,
  pages: AsyncGenerator<TreeMessage[], void>,
): AsyncGenerator<string, void> {
  yield `# ${(title ?? 'Chat').replace(/\s+/g, ' ')}\n`
  for await (const page of pages)
    for (const { is_active, role, content, timestamp, attachments } of page) {
      if (!is_active) continue
      const files = attachments.map(({ name }) => `\n- ${String(name ?? 'file')}`).join('')
      yield `\n## ${SPEAKERS[role]} · ${timestamp.slice(0, 16).replace('T', ' ')} UTC\n\n${content.trim()}\n${files && `${files}\n`}`
    }
}

/** Text as a stream that asks for no more than its reader takes; `bytes` once it has ended. */
function streamed(text: AsyncGenerator<string, void>) {
  const { promise: bytes, resolve } = Promise.withResolvers<number>()
  let sent = 0
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await text.next()
        if (done) {
          controller.close()
          resolve(sent)
          return
        }
        const chunk = utf8(value)
        sent += chunk.byteLength
        controller.enqueue(chunk)
      } catch (error) {
        // What was sent until then counts all the same.
        resolve(sent)
        throw error
      }
    },
    async cancel() {
      resolve(sent)
      await text.return(undefined)
    },
  })
  return { body, bytes }
}
