import type { Settings } from '../../../env'
import { iso } from '../../../lib/ids'
import { signedUrl } from '../../files/signing'
import { isPicture } from '../../files/types'
import type { UpstreamMessage } from '../agents/upstreams/upstream'
import type { Attachment } from './schema'

/** How long an agent may read a file: as long as one that answers by callback may work, and some more. */
const TOLD_MS = 2 * 3600_000

/** A file as an agent is told of it. */
export type ToldAttachment = Omit<Attachment, 'id'> & { url: string; expires_at: string }

export type Told = { settings: Settings; tenant_id: string }

/** The files of a message with URLs that show them to whoever has them. */
export function toldAttachments(
  { settings, tenant_id }: Told,
  of: readonly Attachment[] = [],
): Promise<ToldAttachment[]> {
  const expires = Math.floor((Date.now() + TOLD_MS) / 1000)
  return Promise.all(
    of.map(async ({ id, ...shown }) => ({
      ...shown,
      url: await signedUrl(settings, { method: 'GET', tenant_id, id: id ?? '', expires }),
      expires_at: iso(expires * 1000),
    })),
  )
}

/** A message as a webhook agent is sent it. */
export async function withUrls(told: Told, { attachments, ...message }: UpstreamMessage) {
  if (!attachments?.length) return message
  return { ...message, attachments: await toldAttachments(told, attachments) }
}

/** A message in OpenAI’s form: pictures as such where the model may take them, and of the others where they are. */
export async function asParts(told: Told, { role, content, attachments }: UpstreamMessage) {
  if (!attachments?.length) return { role, content }
  const files = await toldAttachments(told, attachments)
  const pictures = files.filter(({ content_type }) => role === 'user' && isPicture(content_type))
  const text = [content, ...files.filter((file) => !pictures.includes(file)).map(note)].join('\n\n')
  if (pictures.length === 0) return { role, content: text }
  const parts = pictures.map(({ url }) => ({ type: 'image_url' as const, image_url: { url } }))
  return { role, content: [{ type: 'text' as const, text }, ...parts] }
}

/** The same for models that take words alone. */
export async function asText(told: Told, { role, content, attachments }: UpstreamMessage) {
  const files = await toldAttachments(told, attachments)
  return { role, content: [content, ...files.map(note)].join('\n\n') }
}

const note = ({ name, content_type, size, url }: ToldAttachment) =>
  `[Attached file: ${name} (${content_type}, ${size} bytes) ${url}]`
