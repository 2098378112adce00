import type { Context as HonoContext } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import type { Check } from '../../../http/checks'
import { isContinuation } from '../../../http/continuation'
import { isCounted } from '../../../http/counted'
import { type MatchedRoute, routeOf } from '../../../http/notes'
import { asProblem } from '../../../http/problems'
import type { ProblemCode } from '../../../lib/problem'
import { addressLimiter, tenantLimiter } from '../isolate'
import { limitFields, limitProblem } from './headers'
import type { Want } from './held-window'
import type { Limiter } from './limiter'
import { ADDRESS_WANTS, type Kind, SELF_HELP_WANTS, wantsOf } from './policy'
import type { Verdict } from './verdict'

// Which line of the table of limits.md counts a request, and the refusal where it is one too many.

const AUTH = /^\/api\/v1\/auth(?:\/|$)/
/** The same as they are asked for, the documented legacy ones too. */
const AUTH_PATH = /^\/api\/(?:v[12]\/)?auth(?:\/|$)/
const NOWHERE = new Set<ProblemCode>(['route_not_found', 'method_not_allowed'])
const LOGIN = '/api/v1/auth/login'
const FORM = /^multipart\/form-data\b/i
/** What a tenant needs to help itself, over its limit as well. */
const SELF_HELP = /^\/api\/(?:v1\/(?:auth|usage|tenants\/current)|tenant\/(?:usage|current))(?:\/|$)/

/** How a route is counted: by address where it needs no credential, else by tenant. */
type Row = {
  address: readonly Want[] | null
  tenant: Kind | 'stream'
  /** It takes a form in place of JSON, and with it a file: that is an upload. */
  takesForm: boolean
  /** Its body or cookie says the tenant: it is counted when that is known. */
  later: boolean
  /** It is counted by its source, refused or not, and by nobody's address: many share a provider's. */
  bySource: boolean
  /** Where requests without any credential are counted. */
  bare: readonly Want[]
}

const rows = new WeakMap<MatchedRoute, Row>()

function rowOf(route: MatchedRoute): Row {
  let row = rows.get(route)
  if (!row) {
    row = newRow(route)
    rows.set(route, row)
  }
  return row
}

function newRow({ pattern, note }: MatchedRoute): Row {
  const bare = AUTH.test(pattern) ? ADDRESS_WANTS.auth : ADDRESS_WANTS.public
  const counts = note?.counts
  const bySource = counts === 'source'
  const open = note?.open === true && counts !== 'credential' && !bySource && isCounted(pattern)
  return {
    bare,
    takesForm: FORM.test(note?.body?.or?.contentType ?? ''),
    later: counts === 'credential',
    bySource,
    address: open ? (pattern === LOGIN ? ADDRESS_WANTS.login : bare) : null,
    tenant: SELF_HELP.test(pattern)
      ? 'self_help'
      : counts === undefined || counts === 'credential' || bySource
        ? 'request'
        : counts,
  }
}

/** Counts a request that needs no credential against its address; 429 `rate_limited`. */
export const admitAddress: Check = (c) => {
  const { address, later } = rowOf(routeOf(c))
  if (later) return countLater(c)
  if (address === null) return
  return admit(c, addressLimiter(c.env, c.get('request').address), address)
}

/** A refresh token can't be told from a made-up one without a look: an address that made up too many gets none. */
function countLater(c: HonoContext<AppEnv>): undefined {
  const request = c.get('request')
  const refusal = addressLimiter(c.env, request.address).refusal(ADDRESS_WANTS.public)
  if (refusal) return heed(c, refusal)
  request.admit = ({ id }) => {
    delete request.admit
    request.usedBy = { tenant_id: id, caller: 'user' }
    return admit(c, tenantLimiter(c.env, id), SELF_HELP_WANTS)
  }
}

/**
 * Counts a request against its tenant, and its key where that has limits of its own; 429 `rate_limited`. Afterwards this
 * isolate knows what changed until ten seconds ago.
 */
export const admitTenant: Check = (c) => {
  const ctx = c.get('ctx')
  if (!ctx) return
  const limiter = tenantLimiter(c.env, ctx.tenant.id)
  const { tenant, takesForm } = rowOf(routeOf(c))
  const kind = takesForm && FORM.test(c.req.raw.headers.get('Content-Type') ?? '') ? 'upload' : tenant
  if (kind !== 'stream') return admit(c, limiter, wantsOf(ctx.tenant, ctx.principal, kind))
  const known = limiter.refresh(ctx.defer)
  return known?.then(() => undefined)
}

/** Counts a stream of which there was nothing to open as the request that it was; 429 `rate_limited`. */
export function countUnopened(c: HonoContext<AppEnv>): undefined | Promise<undefined> {
  const { tenant, principal } = c.get('ctx')
  return admit(c, tenantLimiter(c.env, tenant.id), wantsOf(tenant, principal, 'request'))
}

/** Counts what a partner's user does in a tenant against that one as well; the platform gets into one that is over. */
export const admitActing: Check = (c) => (c.get('ctx')?.impersonator?.partner_id ? admitTenant(c) : undefined)

/** Counts a request against some windows, whose they are; 429 `rate_limited`. */
export function admit(
  c: HonoContext<AppEnv>,
  limiter: Limiter,
  wants: readonly Want[],
): undefined | Promise<undefined> {
  if (isContinuation(c.req.raw)) return heed(c, limiter.look(wants))
  const verdict = limiter.admit(wants, c.get('request').defer)
  if (verdict instanceof Promise) return verdict.then((settled) => heed(c, settled))
  return heed(c, verdict)
}

function heed(c: HonoContext<AppEnv>, verdict: Verdict): undefined {
  setLimits(c, verdict)
  if (verdict.refusedBy) throw limitProblem(verdict.refusedBy)
}

function setLimits(c: HonoContext<AppEnv>, verdict: Verdict): void {
  const fields = limitFields(verdict)
  if (fields) c.set('limitFields', fields)
}

/**
 * Counts what was not counted when it came, and was refused: a credential against its address, a stream that was not
 * opened as a request. Answers the refusal, or a 429 where there were too many. For the service's error handler, so
 * that nothing that is admitted pays for it.
 */
export async function countRefusal(c: HonoContext<AppEnv>, error: unknown): Promise<unknown> {
  const { status, code } = asProblem(error)
  const request = c.get('request')
  if (!request || status === 429 || status >= 500) return error
  const wants = addressWants(c, status, code)
  if (wants) return refuseAlso(c, error, addressLimiter(c.env, request.address), wants)
  const ctx = c.get('ctx')
  if (!ctx || rowOf(routeOf(c)).tenant !== 'stream') return error
  return refuseAlso(
    c,
    error,
    tenantLimiter(c.env, ctx.tenant.id),
    wantsOf(ctx.tenant, ctx.principal, 'request'),
  )
}

async function refuseAlso(
  c: HonoContext<AppEnv>,
  error: unknown,
  limiter: Limiter,
  wants: readonly Want[],
): Promise<unknown> {
  const verdict = await limiter.admit(wants, c.get('request').defer)
  setLimits(c, verdict)
  return verdict.refusedBy ? limitProblem(verdict.refusedBy) : error
}

/** Where nothing is, no credential is looked at. */
const bringsNothing = (c: HonoContext<AppEnv>): boolean =>
  ['Authorization', 'X-API-Key', 'Cookie'].every((name) => c.req.header(name) === undefined)

/** By which windows a refusal counts against its address; null where it does not, or did when it came. */
function addressWants(c: HonoContext<AppEnv>, status: number, code: ProblemCode): readonly Want[] | null {
  const row = rowOf(routeOf(c))
  if (NOWHERE.has(code)) return AUTH_PATH.test(c.req.path) && bringsNothing(c) ? ADDRESS_WANTS.auth : null
  if (row.address !== null || row.bySource) return null
  if (code === 'credential_required') return row.bare
  // A good credential is refused as well where its user or tenant is suspended, or at an address that is not its own.
  if (status === 401 || code === 'address_refused' || c.get('caller')?.refusal) return ADDRESS_WANTS.public
  // What should have brought a credential, and brought nothing that could be counted by it.
  if (row.later && c.get('request').admit) return status === 403 ? ADDRESS_WANTS.public : row.bare
  return null
}
