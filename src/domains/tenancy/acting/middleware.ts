import type { Context as HonoContext } from 'hono'
import { commit } from '../../../data/commit'
import { contextFor } from '../../../data/system'
import type { AppEnv } from '../../../http/app-env'
import { readText } from '../../../http/body'
import type { Check } from '../../../http/checks'
import { type MatchedRoute, routeOf } from '../../../http/notes'
import { problem } from '../../../lib/problem'
import { tenantNamed } from '../boundary'
import { refuseOtherTenant } from '../tenants/pinned'
import { ActingCaller } from './caller'
import { actingIn } from './standing'

const TARGET = 'X-Target-Tenant-ID'
const ACTIVE = 'X-Active-Tenant-Id'

/**
 * Takes a platform administrator into the tenant that X-Target-Tenant-ID names, and a partner's user into the one of
 * X-Active-Tenant-Id, with the rights they have there. 403 `tenant_mismatch` where that is not theirs.
 */
export const actElsewhere: Check = (c) => {
  const caller = c.get('caller')
  if (!caller) return
  const headers = c.req.raw.headers
  const target = tenantNamed(headers, TARGET)
  const active = tenantNamed(headers, ACTIVE)
  if (target === null && active === null) return
  const isPlatform = caller.principal.scopes.has('platform:*')
  const named = (isPlatform ? target : active) ?? caller.tenantId
  if ((target ?? named) !== named) throw notTheirs(TARGET)
  if ((active ?? named) !== named) throw notTheirs(ACTIVE)
  // At home everybody is what he is, but the platform's own tenant is one to act in as well.
  if (named === caller.tenantId && (target === null || !isPlatform)) return
  const { settings } = c.get('request')
  for (const tenantId of [caller.tenantId, named]) refuseOtherTenant({ settings }, tenantId)
  const header = isPlatform ? TARGET : ACTIVE
  const found = actingIn(c.env, caller, named)
  return found instanceof Promise ? found.then((acting) => enter(c, acting, header)) : enter(c, found, header)
}

const notTheirs = (header: string) =>
  problem('tenant_mismatch', `${header} names no tenant that the credential may act in`)

/** Routes about the caller, and the platform's own, are the same wherever somebody acts. */
const isTheSame = ({ note, pattern }: MatchedRoute): boolean =>
  note?.platform === true || (note?.scopes?.length === 0 && /^\/api\/v1\/auth\//.test(pattern))

function enter(c: HonoContext<AppEnv>, acting: ActingCaller | null, header: string): undefined {
  if (!acting) throw notTheirs(header)
  if (isTheSame(routeOf(c))) return
  const { tenant, principal, impersonator } = acting
  c.set('caller', acting)
  c.set('ctx', { ...contextFor(c.get('request'), tenant, principal), impersonator })
}

/**
 * Heeds what was learned on the way, puts on record what the platform asks of a tenant before it is done, and refuses
 * whoever acts in a tenant of others what makes or shows a secret: it would outlast the right to act there.
 */
export const recordActing: Check = (c) => {
  const caller = c.get('caller')
  if (!(caller instanceof ActingCaller)) return
  if (!caller.isFresh(c.env) || caller.impersonator.partner_id === null) return settle(c, caller)
  return refuseSecrets(c)
}

async function settle(c: HonoContext<AppEnv>, caller: ActingCaller): Promise<undefined> {
  if (!caller.isFresh(c.env)) {
    const again = await actingIn(c.env, caller.by, caller.tenantId)
    enter(c, again, caller.impersonator.partner_id === null ? TARGET : ACTIVE)
    if (again?.refusal) throw again.refusal.problem()
  }
  const ctx = c.get('ctx')
  if (ctx.impersonator?.partner_id === null)
    await commit(ctx, {
      statements: [],
      result: undefined,
      audit: {
        ...{ action: 'tenant.access', resource: 'tenant', resource_id: ctx.tenant.id },
        after: { method: c.req.method, path: c.req.path.slice(0, 512) },
      },
    })
  await refuseSecrets(c)
}

/** What stands for a secret in answers; sent back, it leaves the secret as it is. */
const MASK = '********'

const forbidden = (what: string) =>
  problem('forbidden_while_acting', `${what} not for who acts in a tenant of others`)

function refuseSecrets(c: HonoContext<AppEnv>): undefined | Promise<undefined> {
  const { note } = routeOf(c)
  if (note?.secret === true) throw forbidden('This makes or shows a secret:')
  return note?.secret ? refuseFields(c, note.secret) : undefined
}

async function refuseFields(c: HonoContext<AppEnv>, names: string[]): Promise<undefined> {
  const sent = parsed(await readText(c))
  const given = names.filter((name) => Object.hasOwn(sent, name) && sent[name] !== MASK)
  if (given.length > 0) throw forbidden(`Setting ${given.join(', ')} is`)
}

/** What is no object is refused by the route. */
function parsed(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {}
  }
}
