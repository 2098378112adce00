import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { Context } from '../../../data/context'
import { bareTenant, contextFor } from '../../../data/system'
import type { AppEnv } from '../../../http/app-env'
import { noted } from '../../../http/notes'
import { problem } from '../../../lib/problem'
import { admitRun, countUnknown } from '../../metering/limits/sources'
import { countPinned } from '../../tenancy/tenants/pinned'
import { CALL_TOKEN_HEADER } from './template'
import { openCallToken } from './token'

/** Whose call it is that a token names, and which. */
export type OnCall = { ctx: Context; call_id: string }
export type WithCall = AppEnv & { Variables: { onCall: OnCall } }

/**
 * The call that the token is for which came along: 401 without one, 403 where SINGLE_TENANT_ID pins another tenant,
 * 429 beyond the call’s own window. Who has no such token is counted by address.
 */
export function callToken(): MiddlewareHandler<WithCall> {
  const middleware: MiddlewareHandler<WithCall> = async (c, next) => {
    const plain = c as unknown as HonoContext<AppEnv>
    const request = c.get('request')
    const named = await openCallToken(request.settings, c.req.header(CALL_TOKEN_HEADER) ?? '')
    if (!named) {
      await countUnknown(plain)
      throw problem.unauthorized('invalid_call_token', 'This is not the token of a call')
    }
    const { tenant_id, id: call_id } = named
    await countPinned(request, tenant_id, () => admitRun(plain, call_id))
    const ctx = contextFor(request, bareTenant(tenant_id), { kind: 'system', id: 'calls', scopes: new Set() })
    c.set('onCall', { ctx, call_id })
    await next()
  }
  return noted(middleware, { errors: ['invalid_call_token', 'tenant_mismatch'] })
}
