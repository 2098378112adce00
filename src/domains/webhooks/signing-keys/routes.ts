import { Hono } from 'hono'
import { bareTenant, contextFor } from '../../../data/system'
import type { AppEnv } from '../../../http/app-env'
import { onlyNoted } from '../../../http/notes'
import { body, doc, Id, open, params, returns, returnsPage } from '../../../http/route'
import { Problem } from '../../../lib/problem'
import { countGuess, refuseGuesser } from '../../metering/limits/guesses'
import { allow } from '../../tenancy/authorize'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { RotateWebhookKey, WebhookJwks, WebhookKey } from './schema'
import { keySet, listKeys, rotateKey } from './service'

const tag = 'webhooks'
/** How long receivers may keep the keys. */
const JWKS_MAX_AGE_SECONDS = 300

export const webhookKeyRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List the public keys of `v1a` signatures, newest first', { tag }),
    allow('webhooks:read'),
    returnsPage(WebhookKey),
    async (c) => c.var.reply({ items: await listKeys(c.var.ctx), next_cursor: null }),
  )
  .post(
    '/rotate',
    doc('Sign with a new key', {
      tag,
      description: 'Those before sign beside it for the overlap, and are published as long.',
      secret: true,
      errors: ['conflict'],
    }),
    allow('webhooks:secret'),
    body(RotateWebhookKey, { example: { overlap_seconds: 86_400 }, optional: true }),
    returns(201, WebhookKey, { location: () => '/api/v1/webhooks/signing-keys' }),
    async (c) => c.var.reply(await rotateKey(c.var.ctx, c.req.valid('json'))),
  )

/** Where receivers fetch them; mounted under /.well-known/webhooks. */
export const webhookJwks = new Hono<AppEnv>().get(
  '/:tenant_id/jwks.json',
  doc('The public keys that a tenant’s webhooks are signed with', {
    tag,
    description: 'Not counted against any limit, but for who asks for tenants that there are not.',
    errors: ['rate_limited', 'tenant_mismatch'],
  }),
  open(),
  params({ tenant_id: Id }),
  onlyNoted({ returns: { status: 200, schema: WebhookJwks, bare: true } }),
  async (c) => {
    const { tenant_id } = c.req.valid('param')
    refuseOtherTenant(c.var.request, tenant_id)
    const ctx = contextFor(c.var.request, bareTenant(tenant_id))
    const keys = await keySet(ctx, () => refuseGuesser(c)).catch(async (error: unknown) => {
      if (error instanceof Problem && error.code === 'not_found') await countGuess(c)
      throw error
    })
    return c.json(keys, 200, { 'Cache-Control': `public, max-age=${JWKS_MAX_AGE_SECONDS}` })
  },
)
