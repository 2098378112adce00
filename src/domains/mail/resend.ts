import { MailError, type Mailer, type OutgoingMail } from './mailer'

// Resend's HTTP API: https://resend.com/docs/api-reference/emails/send-email and …/errors

const PATIENCE_MS = 10_000
/** What would be answered again: the mail itself is at fault. A bad key or an unverified domain can be mended meanwhile. */
const FINAL = [400, 422]

type Options = { url: string; key: string; from: string }

/** Sends by Resend. It delivers a mail once, however often it is handed over within a day (`Idempotency-Key`). */
export class Resend implements Mailer {
  constructor(private readonly options: Options) {}

  async send(mail: OutgoingMail): Promise<void> {
    const answer = await this.post(mail)
    if (answer.ok) {
      await answer.body?.cancel()
      return
    }
    const name = await nameOf(answer)
    const seconds = Number(answer.headers.get('Retry-After') ?? Number.NaN)
    throw new MailError(
      `Resend answered ${answer.status}${name ? ` ${name}` : ''}`,
      FINAL.includes(answer.status) || name === 'invalid_idempotent_request',
      Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null,
    )
  }

  private async post({ id, to, subject, text, html }: OutgoingMail): Promise<Response> {
    const { url, key, from } = this.options
    try {
      return await fetch(`${url}/emails`, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${key}`,
          'Content-Type': 'application/json',
          'Idempotency-Key': id,
          'User-Agent': 'Causeway-Mail/1',
        },
        body: JSON.stringify({ from, to: [to], subject, text, html }),
        redirect: 'manual',
        signal: AbortSignal.timeout(PATIENCE_MS),
      })
    } catch (error) {
      const late = error instanceof Error && error.name === 'TimeoutError'
      throw new MailError(
        late ? `Resend did not answer within ${PATIENCE_MS} ms` : 'Resend could not be reached',
        false,
      )
    }
  }
}

/** The kind of error by Resend's name; its message may quote the mail. */
async function nameOf(answer: Response): Promise<string | null> {
  try {
    const { name } = (await answer.json()) as { name?: unknown }
    return typeof name === 'string' && /^\w{1,60}$/.test(name) ? name : null
  } catch {
    return null
  }
}
