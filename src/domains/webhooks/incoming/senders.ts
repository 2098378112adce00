import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { Context, RequestContext } from '../../../data/context'
import { bareTenant } from '../../../data/system'
import type { AppEnv } from '../../../http/app-env'
import { noted } from '../../../http/notes'
import { problem } from '../../../lib/problem'
import { idempotencyOf } from '../../metering/idempotency/middleware'
import { countUnknown } from '../../metering/limits/sources'
import { limitsOf } from '../../tenancy/plans'
import { refuseUnlessActive } from '../../tenancy/tenants/active'
import { isAdmitted, refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { findSource } from './find'
import { KINDS } from './kinds'
import { messageOf } from './message'
import type { Incoming } from './proof'
import { PROVIDERS } from './providers'
import { NOBODY } from './receive'
import { tenantOfReferences } from './references'
import { openSecrets } from './secrets'
import type { Provider, SourceRow } from './table'
import { answerOtherwise, contextOf, counting, heed, heeding, incomingOf } from './take'

/** A webhook that its sender is proven to have sent, by the secret of that number; `source` is null of a provider. */
export type Proven = {
  ctx: Context
  sender: string
  source: SourceRow | null
  incoming: Incoming
  signed_by: number
}

export type WithSender = AppEnv & { Variables: { webhook: Proven } }

/** A request as it is to who does not care what was proven of it. */
export const plain = (c: object) => c as HonoContext<AppEnv>

/** What one of the operator's providers sends, of whatever tenant: 401 without its signature, 404 where it has no secret here. */
export function ofProvider(sender: Provider): MiddlewareHandler<WithSender> {
  return async (c, next) => {
    const request = c.get('request')
    const provider = PROVIDERS[sender]
    const secrets = provider.secrets(request.settings)
    if (secrets.length === 0) {
      await countUnknown(plain(c))
      throw problem.notFound('configured provider', sender)
    }
    const ctx = contextOf(request, bareTenant(NOBODY))
    const proof = await heeding(plain(c), ctx, sender, async () => {
      const incoming = await incomingOf(plain(c))
      return { incoming, signed_by: await provider.verify(incoming, secrets) }
    })
    await counting(plain(c), ctx, sender, null)
    c.set('webhook', { ctx, sender, source: null, ...proof })
    await next()
    await heed(plain(c), ctx, sender, c.error)
    if (c.res.ok && c.res.headers.has('Idempotency-Replayed'))
      await countReplay(request, sender, proof.incoming)
  }
}

/** A webhook that is answered by its key is in the usage of the tenant that it is for, as at first. */
async function countReplay(request: RequestContext, sender: Provider, { body }: Incoming): Promise<void> {
  const { references } = PROVIDERS[sender].read(messageOf(body, 'application/json', true).value)
  const tenant_id = await tenantOfReferences(request, sender, references)
  if (tenant_id !== null) request.usedBy = { tenant_id, caller: 'public' }
}

/** What a tenant's own source sends: 401 without its signature, 403 where the tenant does not stand, 404 for no source. */
export function ofSource(): MiddlewareHandler<WithSender> {
  const middleware: MiddlewareHandler<WithSender> = async (c, next) => {
    const request = c.get('request')
    const id = c.req.param('source_id') ?? ''
    const found = await findSource(request, id)
    if (!found || !isAdmitted(request, found.tenant.id)) await countUnknown(plain(c))
    if (!found) throw problem.notFound('webhook source', id)
    const { source, tenant } = found
    refuseOtherTenant(request, tenant.id)
    const ctx = contextOf(request, tenant)
    const proof = await heeding(plain(c), ctx, id, async () => {
      const incoming = await incomingOf(plain(c))
      const secrets = await openSecrets(ctx.settings, source)
      const signed_by = await KINDS[source.kind].verify(incoming, secrets, source.hmac)
      request.usedBy = { tenant_id: tenant.id, caller: 'public' }
      refuseUnlessActive(tenant.status, 'source')
      return { incoming, signed_by }
    })
    await counting(plain(c), ctx, id, Math.min(source.per_minute, limitsOf(tenant).requests_per_minute))
    c.set('webhook', { ctx, sender: id, source, ...proof })
    await next()
    await heed(plain(c), ctx, id, c.error)
    // What is kept for a key is the receipt, or a challenge.
    const isReceipt = c.res.ok && c.res.headers.get('Content-Type')?.startsWith('application/json')
    const isReplayed = isReceipt && c.res.headers.has('Idempotency-Replayed')
    const answer = isReplayed ? answerOtherwise(plain(c), source.kind) : null
    if (answer) c.res = answer
  }
  return noted(middleware, { errors: ['tenant_mismatch', 'tenant_suspended', 'tenant_cancelled'] })
}

/** Keys are the sender's own. */
export const keyOfSender = idempotencyOf<WithSender>((c) => {
  const { ctx, sender } = c.get('webhook')
  return { tenant_id: ctx.tenant.id, principal: `source:${sender}`, ctx }
})
