import type { RequestContext } from '../../../data/context'
import { count } from '../attempts/service'

/** Mails that anybody can have sent to one address within an hour. */
const MOST_MAILS = 5

/** Whether one more mail may go to an address that somebody typed; counted whether or not anybody has it. */
export async function mayMail(request: RequestContext, email: string): Promise<boolean> {
  return (await count(request, { window: 'mails', subject: email, most: MOST_MAILS })) !== null
}
