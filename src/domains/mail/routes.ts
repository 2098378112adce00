import { desc } from 'drizzle-orm'
import { Hono } from 'hono'
import * as z from 'zod'
import { directory } from '../../data/database'
import type { AppEnv } from '../../http/app-env'
import { doc, open, returnsPage } from '../../http/route'
import { problem } from '../../lib/problem'
import { Id } from '../../lib/wire'
import { mails } from './table'

const Mail = z
  .object({
    id: Id,
    tenant_id: Id,
    to: z.string(),
    subject: z.string(),
    text: z.string(),
    html: z.string(),
    created_at: z.string(),
    attempts: z.int(),
    next_attempt_at: z.string().nullable(),
    sent_at: z.string().nullable().meta({ description: 'Its texts are gone then.' }),
    failed_at: z.string().nullable(),
    last_error: z.string().nullable(),
  })
  .meta({ id: 'Mail' })

/** The development mail box: the last hundred mails, of all tenants. In production there is no such route. */
export const devMail = new Hono<AppEnv>().get(
  '/mail',
  doc('Read the development mail box', { tag: 'Development', description: 'Only in development.' }),
  open(),
  returnsPage(Mail),
  async (c) => {
    if (!c.var.request.settings.development) throw problem('route_not_found', 'There is no mail box here')
    const items = await directory(c.env).select().from(mails).orderBy(desc(mails.created_at)).limit(100)
    return c.var.reply({ items, next_cursor: null })
  },
)
