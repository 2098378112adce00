import { and, eq } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { sha256 } from '../../../lib/crypto'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { tenants } from '../../tenancy/tenants/table'
import { KEY_FRESH_MS, KeyCaller, recall, remember } from '../callers'
import { knowledgeOf } from '../knowledge'
import { tenantState } from '../sessions/standing'
import { users } from '../users/table'
import { isGenuine } from './genuine'
import { apiKeys } from './table'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now' | 'address' | 'defer'>

/**
 * Who an API key stands for: from memory, else D1; a forged key costs neither. 401 `invalid_api_key` for one that is
 * not known or has expired, 403 `address_refused` from where it may not be used; whether it still counts is the caller's `refusal`.
 */
export function callerByKey(caller: Caller, key: string): KeyCaller | Promise<KeyCaller> {
  const known = recall(caller.env, key)
  if (!(known instanceof KeyCaller)) return firstSight(caller, key)
  if (!known.isFresh(caller.now)) return readAgain(caller, key, known)
  return usable(caller, known)
}

function usable(caller: Caller, found: KeyCaller): KeyCaller {
  // One that was revoked is refused as such (authenticate.ts), wherever it is used from.
  const refusal =
    found.expired(caller.now) ?? (found.refusal?.final ? null : found.refusalFrom(caller.address))
  if (refusal) throw refusal
  return found
}

const unknown = () => problem.unauthorized('invalid_api_key', 'The API key is not valid')

async function firstSight(caller: Caller, key: string): Promise<KeyCaller> {
  // Thrown, and so not remembered: made-up keys must not push out the ones in use.
  if (!(await isGenuine(caller, key))) throw unknown()
  if (isStranger(caller, key)) throw unknown()
  return usable(caller, await read(caller, key))
}

async function readAgain(caller: Caller, key: string, known: KeyCaller): Promise<KeyCaller> {
  known.postpone(caller.now)
  const found = await read(caller, key).catch((error: unknown) => {
    const refused = error instanceof Error && 'code' in error && error.code === 'invalid_api_key'
    if (refused || !known.isGoodEnough(caller.now)) throw error
    log.warn('api_key_unread', { cause: describeError(error) })
    return known
  })
  return usable(caller, found)
}

async function read(caller: Caller, key: string): Promise<KeyCaller> {
  const row = await directory(caller.env)
    .select({
      key: apiKeys,
      maker: { role: users.role, status: users.status, version: users.version },
      tenant: tenants,
    })
    .from(apiKeys)
    .leftJoin(users, and(eq(users.tenant_id, apiKeys.tenant_id), eq(users.id, apiKeys.created_by)))
    .innerJoin(tenants, eq(tenants.id, apiKeys.tenant_id))
    .where(eq(apiKeys.hash, await sha256(key)))
    .get()
  if (!row) {
    rememberStranger(caller, key)
    throw unknown()
  }
  const knowledge = knowledgeOf(caller.env, row.key.tenant_id)
  knowledge.learnTenant(tenantState(row.tenant))
  const found = new KeyCaller(knowledge, row.key, row.maker, caller.now)
  remember(caller.env, key, found)
  return found
}

/** Keys that were ours once and whose row is gone: they never come back, and cost D1 one look now and then. */
const strangers = new WeakMap<Bindings, Map<string, number>>()
const MOST_STRANGERS = 1_000

const isStranger = ({ env, now }: Caller, key: string) => now < (strangers.get(env)?.get(key) ?? 0)

function rememberStranger({ env, now }: Caller, key: string): void {
  const known = strangers.get(env) ?? new Map<string, number>()
  strangers.set(env, known)
  if (known.size >= MOST_STRANGERS) known.clear()
  known.set(key, now + KEY_FRESH_MS)
}
