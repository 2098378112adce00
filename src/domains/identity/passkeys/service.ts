import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso, newId } from '../../../lib/ids'
import { describeError } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { freshSession } from '../sessions/fresh'
import { ownSession } from '../sessions/service'
import { users } from '../users/table'
import { hasAnotherWayIn } from '../ways-in'
import { type Accepts, challengeOf, registering, registrationOptions, verifiedRegistration } from './ceremony'
import { CHALLENGE_MS } from './challenge'
import type { VerifyRegistration } from './schema'
import { type PasskeyRow, passkeys, usedChallenges } from './table'

/** More than anybody has devices. */
const MOST_PASSKEYS = 20

type PasskeyView = Omit<PasskeyRow, 'version'>

/** What a browser needs to make a passkey for the caller. */
export async function beginRegistration(ctx: Context) {
  const { user_id } = await freshSession(ctx)
  const user = await ctx.db
    .select({ id: users.id, email: users.email, full_name: users.full_name })
    .from(users)
    .where(and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, user_id)))
    .get()
  if (!user) throw problem('user_required', 'This credential stands for no user')
  const known = await ctx.db.select().from(passkeys).where(own(ctx, user_id))
  return registrationOptions(ctx, user, known)
}

/** Keeps the passkey that the caller's device made. 422 where its answer is not good, 409 where it is known already. */
export async function register(
  ctx: Context,
  input: VerifyRegistration,
  accepts: Accepts,
): Promise<PasskeyView> {
  const { user_id, email } = await freshSession(ctx)
  const { credential, aaguid, credentialDeviceType, credentialBackedUp } = await verified(
    ctx,
    user_id,
    input,
    accepts,
  )
  const now = iso(ctx.now)
  const row: PasskeyRow = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    user_id,
    name: input.name ?? `Passkey of ${now.slice(0, 10)}`,
    credential_id: credential.id,
    public_key: base64url(credential.publicKey),
    counter: credential.counter,
    transports: credential.transports ?? [],
    aaguid,
    device_type: credentialDeviceType === 'multiDevice' ? 'multi_device' : 'single_device',
    backed_up: credentialBackedUp,
    last_used_at: null,
    version: 1,
    created_at: now,
    updated_at: now,
  }
  const { name, device_type, backed_up } = row
  return commit(ctx, {
    statements: [
      await takeOnce(ctx, input.response.response.clientDataJSON, notGood()),
      {
        holds: sql`(select count(*) from ${passkeys} where ${own(ctx, user_id)}) < ${MOST_PASSKEYS}`,
        otherwise: problem('conflict', `A user has ${MOST_PASSKEYS} passkeys at most: remove one first`),
      },
      ctx.db.insert(passkeys).values(row),
      mailStatement(ctx, email, 'passkey_added', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    result: row,
    unique: { 'passkeys.credential_id': problem('already_exists', 'The passkey is registered already') },
    audit: {
      action: 'passkey.create',
      resource: 'passkey',
      resource_id: row.id,
      after: { user_id, name, aaguid, device_type, backed_up },
    },
  })
}

async function verified(ctx: Context, userId: string, input: VerifyRegistration, accepts: Accepts) {
  try {
    return await verifiedRegistration(ctx, registering(ctx.tenant.id, userId), input.response, accepts)
  } catch (error) {
    await noteRefusal(ctx, userId, { reason: describeError(error).slice(0, 200) })
    throw notGood()
  }
}

const notGood = () =>
  problem.invalid({ response: 'is not a good answer to options of the last five minutes: ask for new ones' })

/** Writes the challenge down as used; where it is, the batch fails with `otherwise`. */
export async function takeOnce(ctx: Context, clientDataJSON: string, otherwise: ReturnType<typeof problem>) {
  const row = {
    tenant_id: ctx.tenant.id,
    hash: await sha256(challengeOf(clientDataJSON)),
    expires_at: iso(ctx.now + CHALLENGE_MS),
  }
  return { statement: ctx.db.insert(usedChallenges).values(row).onConflictDoNothing(), otherwise }
}

/** Writes down that somebody's passkey was refused, and why. */
export async function noteRefusal(ctx: Context, userId: string, after: Record<string, unknown>) {
  await commit(
    { ...ctx, idempotency: null },
    {
      statements: [],
      result: undefined,
      audit: { action: 'passkey.refuse', resource: 'user', resource_id: userId, after },
    },
  )
}

/** The caller's passkeys, newest first. */
export function listPasskeys(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<PasskeyView>> {
  const { user_id } = ownSession(ctx)
  return newest(ctx, passkeys, input, { user_id })
}

/** Removes one of the caller's passkeys; 409 where nobody could log in as the caller any more. */
export function removePasskey(ctx: Context, id: string): Promise<undefined> {
  const { user_id, email } = ownSession(ctx)
  const statement = ctx.db.delete(passkeys).where(and(own(ctx, user_id), eq(passkeys.id, id)))
  return commit(ctx, {
    statements: [
      { statement, otherwise: problem.notFound('passkey', id) },
      {
        holds: hasAnotherWayIn(ctx, user_id),
        otherwise: problem('conflict', 'It is the last way to log in: set a password first'),
      },
      mailStatement(ctx, email, 'passkey_removed', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    result: undefined,
    audit: { action: 'passkey.remove', resource: 'passkey', resource_id: id },
  })
}

const own = (ctx: Context, userId: string) =>
  and(eq(passkeys.tenant_id, ctx.tenant.id), eq(passkeys.user_id, userId))
