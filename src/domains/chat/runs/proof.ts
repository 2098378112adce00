import { eq } from 'drizzle-orm'
import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import type { AppEnv } from '../../../http/app-env'
import { noted } from '../../../http/notes'
import { isUuid } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { admitRun, countUnknown } from '../../metering/limits/sources'
import { refuseUnlessActive } from '../../tenancy/tenants/active'
import { countPinned } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import type { Ids } from '../room/verbs'
import { openRunToken, RUN_TOKEN_HEADER } from './token'

export type WithRun = AppEnv & { Variables: { chat: Ids } }

/**
 * Whose run the path names, by the token that came with its request: 401 without it, 403 for a tenant that is not active or
 * not the one that SINGLE_TENANT_ID pins, 429 beyond the run’s own window. Who has no such token is counted by address.
 */
export function runToken(): MiddlewareHandler<WithRun> {
  const middleware: MiddlewareHandler<WithRun> = async (c, next) => {
    const plain = c as unknown as HonoContext<AppEnv>
    const runId = c.req.param('id') ?? ''
    const request = c.get('request')
    const { settings } = request
    const ids = isUuid(runId) ? await openRunToken(settings, tokenIn(c.req.raw.headers), runId) : null
    if (!ids) {
      await countUnknown(plain)
      throw problem.unauthorized('invalid_run_token', 'This is not the token of that run')
    }
    await countPinned(request, ids.tenant_id, () => admitRun(plain, runId))
    await refuseFallen(request, ids.tenant_id, runId)
    c.set('chat', ids)
    await next()
  }
  return noted(middleware, {
    errors: ['invalid_run_token', 'tenant_mismatch', 'tenant_suspended', 'tenant_cancelled'],
  })
}

function tokenIn(headers: Headers): string {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.get('Authorization') ?? '')?.[1]
  return headers.get(RUN_TOKEN_HEADER) ?? bearer ?? ''
}

async function refuseFallen(request: RequestContext, tenantId: string, runId: string): Promise<void> {
  const tenant = await directory(request.env)
    .select({ status: tenants.status })
    .from(tenants)
    .where(eq(tenants.id, tenantId))
    .get()
  if (!tenant) {
    // No Meter must begin anew for it.
    request.usedBy = undefined
    throw problem.notFound('run', runId)
  }
  refuseUnlessActive(tenant.status, 'run')
}
