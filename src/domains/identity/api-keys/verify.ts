import { and, eq } from 'drizzle-orm'
import type { RequestContext, Tenant } from '../../../data/context'
import { directory } from '../../../data/database'
import { sha256 } from '../../../lib/crypto'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { Remembered } from '../../../lib/remembered'
import { scopesOf } from '../../tenancy/scopes'
import { tenants } from '../../tenancy/tenants/table'
import { STANDING_FRESH_MS, STANDING_MAX_MS, tenantView } from '../sessions/standing'
import { users } from '../users/table'
import { isGenuine } from './key'
import type { KeyLimits } from './limits'
import { apiKeys } from './table'

/** A verified key with what hangs on it; scopes are what the key names and its maker's role still allows. */
export type VerifiedKey = {
  id: string
  name: string
  user_id: string | null
  role: string
  user_status: 'active' | 'suspended'
  scopes: ReadonlySet<string>
  expires_at: string | null
  limits: KeyLimits | null
  tenant: Tenant
}

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

const keys = new Remembered<VerifiedKey | null>(STANDING_FRESH_MS, STANDING_MAX_MS)

/** The key's record from memory, else D1; a forged key costs neither. 401 `invalid_api_key` where it does not count. */
export async function verifyApiKey(caller: Caller, key: string): Promise<VerifiedKey> {
  const refusal = () => problem.unauthorized('invalid_api_key', 'The API key is not valid')
  const found = await keys.get(key, caller.now, async () => {
    // Thrown, and so not remembered: made-up keys must not push out the ones in use.
    if (!(await isGenuine(caller.settings.MASTER_KEY, key))) throw refusal()
    return look(caller, await sha256(key))
  })
  if (!found) throw refusal()
  if (found.expires_at !== null && found.expires_at <= iso(caller.now))
    throw problem.unauthorized('invalid_api_key', 'The API key has expired')
  return found
}

async function look(caller: Caller, hash: string): Promise<VerifiedKey | null> {
  const row = await directory(caller.env)
    .select({ key: apiKeys, role: users.role, user_status: users.status, tenant: tenants })
    .from(apiKeys)
    .leftJoin(users, and(eq(users.tenant_id, apiKeys.tenant_id), eq(users.id, apiKeys.created_by)))
    .innerJoin(tenants, eq(tenants.id, apiKeys.tenant_id))
    .where(eq(apiKeys.hash, hash))
    .get()
  if (!row || row.key.revoked_at !== null) return null
  // A key that the platform made has no maker whose role could change.
  const role = row.role ?? 'admin'
  const allowed = new Set<string>(scopesOf(role))
  return {
    id: row.key.id,
    name: row.key.name,
    user_id: row.key.created_by,
    role,
    user_status: row.user_status ?? 'active',
    scopes: new Set(row.key.scopes.filter((scope) => allowed.has(scope))),
    expires_at: row.key.expires_at,
    limits: row.key.limits,
    tenant: tenantView(row.tenant),
  }
}

/** Makes this isolate look again: a key revoked here stops here at once. */
export function forgetKey(id: string): void {
  keys.forgetWhere((key) => key?.id === id)
}
