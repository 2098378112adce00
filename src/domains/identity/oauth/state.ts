import { and, eq, isNull, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { bareTenant, contextFor } from '../../../data/system'
import { equalInConstantTime, hmac, hmacKey, randomBytes, sha256 } from '../../../lib/crypto'
import { base64url, fromBase64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { oauthStates } from './table'

/** A person logs in at the provider meanwhile, and may have to find a second factor. */
export const STATE_SECONDS = 600
/** So long a second use is told from a made-up state. */
const KEPT_MS = 24 * 3600_000

type StateRow = typeof oauthStates.$inferSelect

/** A login on its way: what the provider is given, and what the browser keeps. */
export type Started = { state: string; cookie: string; secret: string; nonce: string; verifier: string }

const random = () => base64url(randomBytes(32))

/** What is written for a login that belongs to no tenant yet. */
const nobody = (request: RequestContext) => contextFor(request, bareTenant('public'))

/** Keeps a new login by its hashes; what can be used of it is with the browser alone. */
export async function startLogin(
  request: RequestContext,
  login: Pick<StateRow, 'provider' | 'tenant' | 'redirect_to'>,
): Promise<Started> {
  const state = random()
  const secret = random()
  const hash = await sha256(state)
  const db = directory(request.env)
  const row = {
    ...login,
    hash,
    binding: await sha256(secret),
    created_at: iso(request.now),
    expires_at: iso(request.now + STATE_SECONDS * 1000),
  }
  await commit(nobody(request), {
    statements: [
      db.delete(oauthStates).where(lt(oauthStates.expires_at, iso(request.now - KEPT_MS))),
      db.insert(oauthStates).values(row),
    ],
    result: undefined,
  })
  return { state, cookie: await cookieOf(state), secret, ...(await secretsOf(state, secret)) }
}

/** The cookie of one login: each has its own, so that two windows do not disturb each other. */
export async function cookieOf(state: string): Promise<string> {
  return `oauth_${(await sha256(state)).slice(0, 16)}`
}

/** Nonce and PKCE verifier of a login, made from what its browser keeps. */
async function secretsOf(state: string, secret: string): Promise<{ nonce: string; verifier: string }> {
  const key = await hmacKey(fromBase64url(secret) ?? new Uint8Array())
  const of = async (purpose: string) => base64url(await hmac(key, `${purpose}:${state}`))
  return { nonce: await of('nonce'), verifier: await of('verifier') }
}

/**
 * The login that a browser comes back with, if it is its own, of this provider and not too old; 400
 * `oauth_state_invalid` for every other, which stays as it is.
 */
export async function findLogin(
  request: RequestContext,
  provider: string,
  state: string,
  secret: string | undefined,
): Promise<StateRow & { nonce: string; verifier: string }> {
  const hash = await sha256(state)
  const row = await directory(request.env).select().from(oauthStates).where(eq(oauthStates.hash, hash)).get()
  if (row?.used_at) await recordReplay(request, row)
  if (!row || row.used_at || row.provider !== provider || row.expires_at <= iso(request.now)) throw invalid()
  if (secret === undefined || !equalInConstantTime(await sha256(secret), row.binding)) throw invalid()
  return { ...row, ...(await secretsOf(state, secret)) }
}

/** Uses a login up: of two that come back at once, one goes on. */
export function useLogin(request: RequestContext, { hash }: Pick<StateRow, 'hash'>): Promise<undefined> {
  const use = directory(request.env)
    .update(oauthStates)
    .set({ used_at: iso(request.now) })
    .where(and(eq(oauthStates.hash, hash), isNull(oauthStates.used_at)))
  return commit(nobody(request), {
    statements: [{ statement: use, otherwise: invalid() }],
    result: undefined,
  })
}

/** The statement that notes whose login it became. Not async: it goes into the batch that opens the session. */
export function became(request: RequestContext, hash: string, user: { tenant_id: string; id: string }) {
  return directory(request.env)
    .update(oauthStates)
    .set({ opened_tenant: user.tenant_id, opened_user: user.id })
    .where(eq(oauthStates.hash, hash))
}

/** A second use is on record where the first one led. */
async function recordReplay(request: RequestContext, row: StateRow): Promise<void> {
  if (row.opened_tenant === null || row.opened_user === null) return
  await commit(contextFor(request, bareTenant(row.opened_tenant)), {
    statements: [],
    result: undefined,
    audit: {
      action: 'oauth.replay',
      resource: 'user',
      resource_id: row.opened_user,
      after: { provider: row.provider },
    },
  })
}

const invalid = () =>
  problem('oauth_state_invalid', 'This login was not started here, is over, or was used already')
