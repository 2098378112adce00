import type { Context, RequestContext } from '../../../data/context'
import { count, refusalOf } from '../attempts/service'

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

/** Mails that a tenant's admins can have sent to people who asked for nothing, within an hour. */
const MOST_BY_TENANT = 100

/** Counts a mail to an address that an admin typed; 429 `rate_limited` where the address or the tenant had its share. */
export async function countInvited(ctx: Context, email: string): Promise<void> {
  for (const allowance of [
    { window: 'invitation_mails', subject: email, most: MOST_MAILS },
    { window: 'invitations', subject: ctx.tenant.id, most: MOST_BY_TENANT },
  ])
    if ((await count(ctx, allowance)) === null) throw await refusalOf(ctx, allowance)
}
