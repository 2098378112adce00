import { and, eq, isNull, lt, lte, or, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { sealedIn } from '../../../data/sealed'
import { Sealer } from '../../../lib/crypto'
import { iso } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { recoveryHash } from './recovery-codes'
import { recoveryCodes, type TotpRow, totpEnrolments } from './table'
import { stepOf } from './totp'

/** A second factor as it is given. */
export type Given = { code?: string | undefined; recovery_code?: string | undefined }

type Statements = Change<unknown>['statements']

/** What came of a second factor: whether it fits, and what is to be written with whatever it allows or refuses. */
export type Proof = { fits: boolean; factor: 'totp' | 'recovery_code'; statements: Statements }

/**
 * Codes that are tried for one account in an hour. Beyond it only a recovery code lets in, so that who knows the
 * password can neither guess on nor shut the owner out.
 */
const MOST_TRIES = 10
const TRIES_MS = 3600_000

/** Seals the secrets that authenticator apps share. */
export const totpSealer = (ctx: Pick<Context, 'settings'>): Sealer => new Sealer(ctx.settings, 'totp')
/** What a secret is bound to. */
export const totpBound = (tenantId: string, userId: string): string => `${tenantId}:${userId}`

sealedIn({
  ...{ purpose: 'totp', table: 'totp_enrolments', column: 'secret_sealed' },
  key: ['tenant_id', 'user_id'],
  bound: (tenantId = '', userId = '') => totpBound(tenantId, userId),
})

/** The user's authenticator app, confirmed or not. */
export function totpOf(ctx: Context, userId: string): Promise<TotpRow | undefined> {
  return ctx.db
    .select()
    .from(totpEnrolments)
    .where(and(eq(totpEnrolments.tenant_id, ctx.tenant.id), eq(totpEnrolments.user_id, userId)))
    .get()
}

/** Looks at a second factor. `otherwise` is the refusal where another request used the same one meanwhile. */
export function prove(ctx: Context, totp: TotpRow, given: Given, otherwise: Problem): Promise<Proof> {
  return given.code === undefined
    ? proveRecovery(ctx, totp.user_id, given.recovery_code ?? '', otherwise)
    : proveTotp(ctx, totp, given.code, otherwise)
}

async function proveTotp(ctx: Context, totp: TotpRow, code: string, otherwise: Problem): Promise<Proof> {
  const secret = await totpSealer(ctx).open(totp.secret_sealed, totpBound(totp.tenant_id, totp.user_id))
  const step = stepOf(secret, code, ctx.now)
  const fits = step !== null && step > totp.last_step
  const mine = and(eq(totpEnrolments.tenant_id, totp.tenant_id), eq(totpEnrolments.user_id, totp.user_id))
  const hourAgo = iso(ctx.now - TRIES_MS)
  const over = or(isNull(totpEnrolments.tries_since), lte(totpEnrolments.tries_since, hourAgo))
  const attempt = ctx.db
    .update(totpEnrolments)
    .set({
      tries: sql`case when ${over} then 1 else tries + 1 end`,
      tries_since: sql`case when ${over} then ${iso(ctx.now)} else tries_since end`,
    })
    .where(and(mine, or(lt(totpEnrolments.tries, MOST_TRIES), over)))
  const statements: Statements = [{ statement: attempt, otherwise: tooMany(ctx, totp) }]
  if (fits) {
    // The condition is what refuses a code that came twice at once.
    const use = ctx.db
      .update(totpEnrolments)
      .set({ last_step: step, tries: 0, tries_since: null })
      .where(and(mine, lt(totpEnrolments.last_step, step)))
    statements.push({ statement: use, otherwise })
  }
  return { fits, factor: 'totp', statements }
}

function tooMany(ctx: Context, { tries_since }: TotpRow): Problem {
  const until = Date.parse(tries_since ?? iso(ctx.now)) + TRIES_MS
  const wait = Math.max(1, Math.ceil((until - ctx.now) / 1000))
  return problem('rate_limited', 'Too many codes were tried for this account; use a recovery code, or wait', {
    headers: { 'Retry-After': String(wait) },
    details: { window: 'codes', limit: MOST_TRIES, remaining: 0, retry_after: wait },
  })
}

async function proveRecovery(ctx: Context, userId: string, code: string, otherwise: Problem): Promise<Proof> {
  const unused = and(
    eq(recoveryCodes.tenant_id, ctx.tenant.id),
    eq(recoveryCodes.user_id, userId),
    eq(recoveryCodes.hash, await recoveryHash(code)),
    isNull(recoveryCodes.used_at),
  )
  const found = await ctx.db.select().from(recoveryCodes).where(unused).get()
  if (!found) return { fits: false, factor: 'recovery_code', statements: [] }
  const use = ctx.db
    .update(recoveryCodes)
    .set({ used_at: iso(ctx.now) })
    .where(unused)
  return { fits: true, factor: 'recovery_code', statements: [{ statement: use, otherwise }] }
}

/** Writes down that a second factor did not fit, with what counts the attempt. */
export async function noteRefusal(ctx: Context, userId: string, proof: Proof, more: Statements = []) {
  // Not under the request's own key: what is stored there is the answer of what it asked for.
  await commit(
    { ...ctx, idempotency: null },
    {
      statements: [...more, ...proof.statements],
      result: undefined,
      audit: {
        action: 'mfa.refuse',
        resource: 'user',
        resource_id: userId,
        after: { factor: proof.factor },
      },
    },
  )
}
