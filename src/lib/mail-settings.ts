import * as z from 'zod'

const ADDRESS =
  /^(?:(?<name>[^<>"\r\n]{1,100}?)\s*<(?<inner>[^\s@<>]+@[^\s@<>]+)>|(?<plain>[^\s@<>]+@[^\s@<>]+))$/

/** `mail@example.com` or `Example <mail@example.com>` in its parts; null for any other text. */
export function parseAddress(text: string): { email: string; name: string | null } | null {
  const { name, inner, plain } = ADDRESS.exec(text.trim())?.groups ?? {}
  const email = inner ?? plain
  return email === undefined ? null : { email, name: name?.trim() || null }
}

/** Who sends the mail; empty is the outbox, which nobody empties. */
export const MailProvider = z.enum(['', 'outbox', 'send_email', 'resend']).default('')

export const MailFrom = z
  .string()
  .default('')
  .refine((value) => value === '' || parseAddress(value) !== null, {
    message: 'must be an address, or a name and an address: Example <mail@example.com>',
  })

export const ResendUrl = z
  .url({ protocol: /^https?$/ })
  .default('https://api.resend.com')
  .transform((value) => value.replace(/\/$/, ''))

type MailSettings = { MAIL_PROVIDER: string; MAIL_FROM: string; RESEND_API_KEY: string }

/** What the chosen provider needs and lacks, by setting. */
export function refusalsOfMail(settings: MailSettings): { path: string[]; message: string }[] {
  const { MAIL_PROVIDER: provider, MAIL_FROM, RESEND_API_KEY } = settings
  if (provider === '' || provider === 'outbox') return []
  const needs = `is needed by MAIL_PROVIDER=${provider}`
  return [
    ...(MAIL_FROM === '' ? [{ path: ['MAIL_FROM'], message: needs }] : []),
    ...(provider === 'resend' && RESEND_API_KEY === '' ? [{ path: ['RESEND_API_KEY'], message: needs }] : []),
  ]
}
