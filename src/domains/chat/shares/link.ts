import { and, eq, gt, isNull, or } from 'drizzle-orm'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { sealedIn } from '../../../data/sealed'
import { contextFor } from '../../../data/system'
import type { Settings } from '../../../env'
import { randomBytes, Sealer, sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { FileRow } from '../../files/table'
import { tenantView } from '../../identity/sessions/standing'
import { refuseUnlessActive } from '../../tenancy/tenants/active'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { attachedFile } from '../attachments/named'
import { type ChatRow, chats } from '../chats/table'
import type { LinkContext } from '../room/caller'
import { ask } from '../room/client'
import { chatShares, type ShareRow } from './table'

// A public link: its token is the credential. It is found by its hash, and kept sealed, since who shared the chat wants to
// copy the link again.

/** How a share with whoever has the link is kept. */
export const PUBLIC = 'public' as const
const PURPOSE = 'chat-link'

const bound = (tenantId = '', chatId = '') => `${tenantId}:${chatId}`

sealedIn({
  ...{ purpose: PURPOSE, table: 'chat_shares', column: 'token' },
  key: ['tenant_id', 'chat_id', 'subject'],
  bound,
})

type Token = Pick<ShareRow, 'token' | 'token_hash'>

/** A token that nobody can guess, as its row keeps it. */
export async function newToken({ settings, tenant }: Context, chatId: string): Promise<Token> {
  const token = base64url(randomBytes(32))
  const sealed = await new Sealer(settings, PURPOSE).seal(token, bound(tenant.id, chatId))
  return { token: sealed, token_hash: await sha256(token) }
}

/** The token of a public link and where it leads, for who may know it. */
export async function linkOf(
  settings: Settings,
  row: ShareRow,
): Promise<{ token: string; url: string } | null> {
  if (row.token === null) return null
  const token = await new Sealer(settings, PURPOSE).open(row.token, bound(row.tenant_id, row.chat_id))
  return { token, url: `${settings.PUBLIC_URL}/api/v1/shared/${token}` }
}

/** A link by its token, with a context for its tenant in which the link is the caller. 404 where it is wrong, or has ended; 403 where its tenant does not stand. */
async function entered(
  request: RequestContext,
  token: string,
): Promise<{ ctx: LinkContext; chat: ChatRow; share: ShareRow }> {
  const hash = await sha256(token)
  // One look, whatever is wrong with it.
  const found = await directory(request.env)
    .select({ share: chatShares, chat: chats, tenant: tenants })
    .from(chatShares)
    .innerJoin(tenants, eq(tenants.id, chatShares.tenant_id))
    .innerJoin(chats, and(eq(chats.tenant_id, chatShares.tenant_id), eq(chats.id, chatShares.chat_id)))
    .where(
      and(
        eq(chatShares.token_hash, hash),
        or(isNull(chatShares.expires_at), gt(chatShares.expires_at, iso(request.now))),
      ),
    )
    .get()
  if (!found) throw problem('not_found', 'There is no such shared chat, or not any more')
  refuseOtherTenant(request, found.tenant.id)
  request.usedBy = { tenant_id: found.tenant.id, caller: 'public' }
  refuseUnlessActive(found.tenant.status, 'link')
  return { ...found, ctx: { ...contextFor(request, tenantView(found.tenant)), link: hash } }
}

/** The chat behind a public link with its messages, and nothing of who is in it. 404. */
export async function readShared(request: RequestContext, token: string) {
  const { ctx, chat, share } = await entered(request, token)
  const { title, messages, messages_complete } = await ask(ctx, chat.id, 'read')
  return { title: chat.title ?? title, messages, messages_complete, expires_at: share.expires_at }
}

/** What follows the chat behind a public link needs. 404. */
export const enterShared = (request: RequestContext, token: string) => entered(request, token)

/** A file of the chat behind a public link. 404. */
export async function sharedFile(
  request: RequestContext,
  token: string,
  fileId: string,
): Promise<{ ctx: Context; row: FileRow }> {
  const { ctx, chat } = await entered(request, token)
  const found = await attachedFile(ctx, chat.id, fileId)
  if (!found) throw problem.notFound('attachment', fileId)
  return { ctx, row: found.file }
}
