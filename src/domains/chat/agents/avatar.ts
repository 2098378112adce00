import type { Context } from '../../../data/context'
import { find, revise } from '../../../data/revise'
import { newId } from '../../../lib/ids'
import { Problem, problem } from '../../../lib/problem'
import { storageHolds } from '../../files/storage'
import { type AgentRow, agents } from './table'

/** The largest picture (chat.md). */
export const MAX_PICTURE = 2 * 1024 * 1024

const ascii = (bytes: Uint8Array, from: number, to: number) =>
  String.fromCharCode(...bytes.subarray(from, to))

/** The content type of a picture by its first bytes; null for anything else, SVG and HTML above all. */
export function pictureType(bytes: Uint8Array): string | null {
  if (ascii(bytes, 0, 8) === '\x89PNG\r\n\x1a\n') return 'image/png'
  if (ascii(bytes, 0, 3) === '\xff\xd8\xff') return 'image/jpeg'
  if (/^GIF8[79]a$/.test(ascii(bytes, 0, 6))) return 'image/gif'
  if (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP') return 'image/webp'
  return null
}

/** Every picture is an object of its own, so that a URL never shows another one. */
const urlOf = (agentId: string, picture: string) => `/api/v1/agents/${agentId}/avatar?v=${picture}`
const pictureOf = (avatar: string) => avatar.split('?v=')[1] ?? ''
const keyOf = (ctx: Context, agentId: string, avatar: string) =>
  `${ctx.tenant.id}/agents/${agentId}/avatars/${pictureOf(avatar)}`

/** Gives an agent a picture in place of the one it had. 404, 412; 422 where the bytes are no PNG, JPEG, GIF or WebP, 409 beyond the storage. */
export async function setAvatar(ctx: Context, id: string, bytes: Uint8Array<ArrayBuffer>): Promise<AgentRow> {
  const contentType = pictureType(bytes)
  if (contentType === null) throw problem.invalid({ file: 'must be a PNG, JPEG, GIF or WebP picture' })
  if (!(await find(ctx, agents, id))) throw problem.notFound('agent', id)
  const avatar = urlOf(id, newId(ctx.now))
  await ctx.env.FILES.put(keyOf(ctx, id, avatar), bytes, { httpMetadata: { contentType } })
  let replaced: string | null = null
  try {
    const row = await revise(ctx, agents, 'agent', id, (before) => {
      replaced = before.avatar
      const change = { before: { avatar: before.avatar }, after: { avatar } }
      return {
        set: { avatar, avatar_bytes: bytes.length },
        // One that is no larger makes room, in a tenant whose plan became smaller too.
        statements: bytes.length > before.avatar_bytes ? [storageHolds(ctx)] : [],
        audit: { action: 'agent.update', resource: 'agent', resource_id: id, ...change },
      }
    })
    if (replaced !== null) ctx.defer(dropPicture(ctx, id, replaced))
    return row
  } catch (error) {
    // Only what was refused stands nowhere: after any other failure the row may name it.
    if (error instanceof Problem) ctx.defer(dropPicture(ctx, id, avatar))
    throw error
  }
}

/** Removes the object of a picture that no row names any more. */
export function dropPicture(ctx: Context, agentId: string, avatar: string): Promise<void> {
  return ctx.env.FILES.delete(keyOf(ctx, agentId, avatar))
}

export type Picture = { id: string; body: ReadableStream; contentType: string; size: number }

/** An agent's picture; its body is null where the reader has it already (`known` is its id). 404 where there is none. */
export async function readAvatar(
  ctx: Context,
  id: string,
  known: (picture: string) => boolean,
): Promise<Picture | { id: string; body: null }> {
  const avatar = (await find(ctx, agents, id))?.avatar
  const none = problem('not_found', `There is no agent ${id} with a picture`, {
    details: { resource: 'avatar', id },
  })
  if (!avatar) throw none
  const picture = pictureOf(avatar)
  if (known(picture)) return { id: picture, body: null }
  const object = await ctx.env.FILES.get(keyOf(ctx, id, avatar))
  if (!object) throw none
  const contentType = object.httpMetadata?.contentType ?? 'application/octet-stream'
  return { id: picture, body: object.body, contentType, size: object.size }
}
