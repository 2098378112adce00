import type { Context } from '../../data/context'
import { iso, newId } from '../../lib/ids'
import { mails } from './table'

/** The texts of every mail, in one place; plain text is the master, HTML shows the same words. */
const TEMPLATES = {
  verify_email: (link: string) => ({
    subject: 'Confirm your email address',
    lines: [
      'Welcome! Please confirm that this address is yours:',
      link,
      'The link works once, within 24 hours.',
    ],
  }),
  already_registered: (link: string) => ({
    subject: 'You have an account already',
    lines: [
      'Somebody, perhaps you, tried to register with this address, which has an account already. Nothing was changed.',
      'If it was you, log in instead:',
      link,
    ],
  }),
  invitation: (link: string) => ({
    subject: 'You are invited',
    lines: ['You are invited to join a team. To accept, register with this address and this token:', link],
  }),
} as const

/** The statement that puts a mail into the outbox; part of the batch of what it tells. */
export function mailStatement(ctx: Context, to: string, template: keyof typeof TEMPLATES, link: string) {
  const { subject, lines } = TEMPLATES[template](link)
  return ctx.db.insert(mails).values({
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    to,
    subject,
    text: lines.join('\n\n'),
    html: lines.map((line) => `<p>${linked(line)}</p>`).join(''),
    created_at: iso(ctx.now),
  })
}

function linked(line: string): string {
  const escaped = line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
  return /^https?:/.test(line) ? `<a href="${escaped}">${escaped}</a>` : escaped
}
