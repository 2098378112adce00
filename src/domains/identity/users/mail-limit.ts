import type { RequestContext } from '../../../data/context'
import { count } from '../attempts/service'

/** Mails that anybody can have sent to one address within an hour. */
const MOST_MAILS = 5

/** Whether one more mail may go to an address that somebody typed; counted whether or not anybody has it. */
export async function mayMail(
  request: RequestContext,
  email: string,
  // Counted apart: who registers an address over and over must not keep its owner from a mail that he asks for.
  window: 'mails' | 'registration_mails' = 'mails',
): Promise<boolean> {
  return (await count(request, { window, subject: email, most: MOST_MAILS })) !== null
}
