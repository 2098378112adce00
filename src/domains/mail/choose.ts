import type { Bindings, Settings } from '../../env'
import type { Mailer } from './mailer'
import { Resend } from './resend'
import { SendEmailBinding } from './send-email'

/** Who sends the mail, by the settings; null where nobody does and the table itself is the mail box. */
export function mailerOf(env: Pick<Bindings, 'EMAIL'>, settings: Settings): Mailer | null {
  const { MAIL_PROVIDER, MAIL_FROM, RESEND_URL, RESEND_API_KEY } = settings
  switch (MAIL_PROVIDER) {
    case '':
    case 'outbox':
      return null
    case 'resend':
      return new Resend({ url: RESEND_URL, key: RESEND_API_KEY, from: MAIL_FROM })
    case 'send_email':
      // The settings are refused without it.
      if (!env.EMAIL) throw new Error('the binding EMAIL is missing')
      return new SendEmailBinding(env.EMAIL, MAIL_FROM)
  }
}
