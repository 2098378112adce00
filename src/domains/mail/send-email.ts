import { parseAddress } from '../../lib/mail-settings'
import { MailError, type Mailer, type OutgoingMail } from './mailer'

// Cloudflare's binding: https://developers.cloudflare.com/email-service/api/send-emails/workers-api/

/** Codes of what is wrong with the mail or its receiver, and stays so. */
const FINAL = new Set([
  'E_VALIDATION_ERROR',
  'E_FIELD_MISSING',
  'E_TOO_MANY_RECIPIENTS',
  'E_RECIPIENT_NOT_ALLOWED',
  'E_RECIPIENT_SUPPRESSED',
  'E_CONTENT_TOO_LARGE',
])

/** Sends by a `send_email` binding. A crash between the sending and the noting sends a mail again. */
export class SendEmailBinding implements Mailer {
  constructor(
    private readonly binding: SendEmail,
    private readonly from: string,
  ) {}

  async send({ id, to, subject, text, html }: OutgoingMail): Promise<void> {
    const sender = parseAddress(this.from)
    const from = sender?.name ? { email: sender.email, name: sender.name } : (sender?.email ?? this.from)
    try {
      await this.binding.send({ from, to, subject, text, html, headers: { 'X-Entity-Ref-ID': id } })
    } catch (error) {
      const code = codeOf(error)
      throw new MailError(
        `the send_email binding refused: ${code ?? 'no reason given'}`,
        FINAL.has(code ?? ''),
      )
    }
  }
}

/** Its `code`; where a runtime has none, the first words of its message, without addresses. */
function codeOf(error: unknown): string | null {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (typeof code === 'string' && /^\w{1,60}$/.test(code)) return code
  return typeof message === 'string' ? message.replaceAll(/\S+@\S+/g, '…').slice(0, 100) : null
}
