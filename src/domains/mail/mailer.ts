/** A mail as it goes out. */
export type OutgoingMail = { id: string; to: string; subject: string; text: string; html: string }

/** The port through which mail leaves; one adapter for each product (choose.ts). */
export interface Mailer {
  /** Hands the mail over; throws a MailError where it was not taken. The same id must not be delivered twice, if the product can. */
  send(mail: OutgoingMail): Promise<void>
}

/** A mail was not taken. */
export class MailError extends Error {
  constructor(
    /** What the product said, without what the mail says. */
    message: string,
    /** Whether it would say the same for ever. */
    readonly isFinal: boolean,
    /** When it asks to be asked again. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(message)
    this.name = 'MailError'
  }
}
