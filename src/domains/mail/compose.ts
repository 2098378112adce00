import type { Context } from '../../data/context'
import { iso, newId } from '../../lib/ids'
import { mailerOf } from './choose'
import { sendOnceWritten } from './service'
import { mails } from './table'
import { type Template, wordsOf } from './templates'

/**
 * The statement that puts a mail into the outbox; part of the batch of what it tells. It is sent as soon as the batch
 * stands, and never where it does not.
 */
export function mailStatement(ctx: Context, to: string, template: Template, link: string, tenant?: string) {
  const { subject, text, html, usefulMs } = wordsOf(template, link, tenant)
  const id = newId(ctx.now)
  const isSent = mailerOf(ctx.env, ctx.settings) !== null
  if (isSent) ctx.defer(sendOnceWritten(ctx, id))
  return ctx.db.insert(mails).values({
    tenant_id: ctx.tenant.id,
    id,
    to,
    subject,
    text,
    html,
    created_at: iso(ctx.now),
    next_attempt_at: isSent ? iso(ctx.now) : null,
    useful_until: iso(ctx.now + usefulMs),
  })
}
