import { and, asc, eq, lt, lte } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { directory } from '../../data/database'
import { keepWatch } from '../../data/outbox'
import { bareTenant, systemContext } from '../../data/system'
import { type Bindings, settingsOf } from '../../env'
import { firstIdAt, iso } from '../../lib/ids'
import { log } from '../../lib/log'
import { problem } from '../../lib/problem'
import { mailerOf } from './choose'
import { MailError } from './mailer'
import { mails } from './table'

const SECOND = 1_000
const MINUTE = 60 * SECOND

/** The wait after each attempt that failed; after the sixth the mail is given up. */
const WAITS_MS = [MINUTE, 5 * MINUTE, 30 * MINUTE, 120 * MINUTE, 360 * MINUTE]
/** Whoever claimed a mail and says nothing for so long is gone. */
const CLAIM_MS = 2 * MINUTE
/** When a mail that was only composed is looked for in the database: its batch is written within milliseconds. */
const LOOKS_MS = [20, 100, 500, 2_000]
/** What is younger than this is on its ordinary way. */
const GRACE_MS = 5 * SECOND
/** Mails that one sweep sends, some at a time. */
const MOST_AT_ONCE = 50
const TOGETHER = 10
/** Mails are on record for so long, without their texts where they were sent. */
const KEPT_MS = 30 * 24 * 3600 * SECOND

type Mail = typeof mails.$inferSelect
type Outcome = Partial<typeof mails.$inferInsert>

/** Sends a mail that was composed, once the batch that it is part of stands. What fails is left to the sweep. */
export async function sendOnceWritten(ctx: Context, id: string): Promise<void> {
  await keepWatch(ctx.env, ctx.now)
  for (const look of LOOKS_MS) {
    await scheduler.wait(look)
    if (await sendOne(ctx.env, ctx.tenant.id, id, ctx.defer)) return
  }
}

/** Sends what is due and nobody sent, over all tenants; answers with how many mails that were. */
export async function sendDue(
  env: Bindings,
  execution: Pick<ExecutionContext, 'waitUntil'>,
  now: number,
): Promise<number> {
  // What waits while nobody sends is sent, or given up, by whoever does next.
  if (!mailerOf(env, settingsOf(env))) return 0
  const due = await directory(env)
    .select({ tenant_id: mails.tenant_id, id: mails.id })
    .from(mails)
    .where(lte(mails.next_attempt_at, iso(now - GRACE_MS)))
    .orderBy(asc(mails.next_attempt_at))
    .limit(MOST_AT_ONCE)
  const defer = (work: Promise<unknown>) => execution.waitUntil(work)
  for (let i = 0; i < due.length; i += TOGETHER)
    await Promise.all(
      due
        .slice(i, i + TOGETHER)
        .map(({ tenant_id, id }) =>
          sendOne(env, tenant_id, id, defer).catch((error: unknown) =>
            log.error('mail_not_sent', { tenant_id, mail_id: id, cause: String(error) }),
          ),
        ),
    )
  return due.length
}

/** Makes one attempt, unless another is making it; false where there is no such mail. */
async function sendOne(
  env: Bindings,
  tenantId: string,
  id: string,
  defer: (work: Promise<unknown>) => void,
): Promise<boolean> {
  const ctx = systemContext(env, bareTenant(tenantId), 'mail', defer)
  const mail = await ctx.db
    .select()
    .from(mails)
    .where(and(eq(mails.tenant_id, tenantId), eq(mails.id, id)))
    .get()
  if (!mail) return false
  if (mail.next_attempt_at === null || mail.next_attempt_at > iso(ctx.now)) return true
  const mailer = mailerOf(env, ctx.settings)
  if (!mailer) return true
  if (mail.useful_until !== null && mail.useful_until <= iso(ctx.now)) {
    await note(ctx, mail, givenUp(ctx, 'its link works no longer'))
    return true
  }
  const claimed = { attempts: mail.attempts + 1, next_attempt_at: iso(ctx.now + CLAIM_MS) }
  if (!(await note(ctx, mail, claimed))) return true
  const outcome = await mailer.send(mail).then(
    () => sent(),
    (error: unknown) => failed(ctx, claimed.attempts, error),
  )
  await note(ctx, { ...mail, ...claimed }, outcome)
  return true
}

/** Writes how the mail stands, where it still stands as it was read; false where another was faster. */
async function note(ctx: Context, mail: Mail, set: Outcome): Promise<boolean> {
  const raced = problem('conflict', 'Another is sending this mail')
  const statement = ctx.db
    .update(mails)
    .set(set)
    .where(
      and(
        eq(mails.tenant_id, mail.tenant_id),
        eq(mails.id, mail.id),
        eq(mails.attempts, mail.attempts),
        eq(mails.next_attempt_at, mail.next_attempt_at ?? ''),
      ),
    )
  try {
    await commit(ctx, { statements: [{ statement, otherwise: raced }], result: undefined })
    return true
  } catch (error) {
    if (error === raced) return false
    throw error
  }
}

const OVER = { next_attempt_at: null, text: '', html: '' }

const sent = (): Outcome => ({ ...OVER, sent_at: iso(Date.now()), last_error: null })

const givenUp = (ctx: Context, why: string): Outcome => ({
  ...OVER,
  failed_at: iso(ctx.now),
  last_error: why,
})

function failed(ctx: Context, attempts: number, error: unknown): Outcome {
  const last_error = error instanceof MailError ? error.message : 'the mailer failed'
  log.error('mail_failed', { tenant_id: ctx.tenant.id, attempts, cause: last_error })
  const wait = WAITS_MS[attempts - 1]
  if (wait === undefined || (error instanceof MailError && error.isFinal)) return givenUp(ctx, last_error)
  const asked = error instanceof MailError ? (error.retryAfterMs ?? 0) : 0
  return { last_error, next_attempt_at: iso(Date.now() + Math.max(wait, asked)) }
}

/** Deletes a tenant's mails that are past keeping. */
export function dropOldMails(ctx: Context): Promise<undefined> {
  const old = and(eq(mails.tenant_id, ctx.tenant.id), lt(mails.id, firstIdAt(ctx.now - KEPT_MS)))
  return commit(ctx, { statements: [ctx.db.delete(mails).where(old)], result: undefined })
}
