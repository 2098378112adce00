import { Hono, type Context as HonoContext } from 'hono'
import * as z from 'zod'
import { bareTenant } from '../../../data/system'
import { answerWith } from '../../../http/answer-headers'
import type { AppEnv } from '../../../http/app-env'
import { type Note, onlyNoted } from '../../../http/notes'
import { doc, Id, open, params } from '../../../http/route'
import { type ProblemCode, problem } from '../../../lib/problem'
import { countUnknown } from '../../metering/limits/sources'
import { limitsOf } from '../../tenancy/plans'
import { refuseUnlessActive } from '../../tenancy/tenants/active'
import { isAdmitted, refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { findSource } from './find'
import { KINDS, providerOfKind } from './kinds'
import { fieldOf, messageOf } from './message'
import { PROVIDERS } from './providers'
import { NOBODY, receiveWebhook } from './receive'
import { tenantOfReferences } from './references'
import { Receipt } from './schema'
import { openSecrets } from './secrets'
import type { Provider } from './table'
import { answerKind, answerReceipt, contextOf, counting, heeding, incomingOf } from './take'

const tag = 'incoming webhooks'
const errors: ProblemCode[] = [
  ...(['signature_required', 'invalid_signature', 'signature_expired'] as const),
  ...(['malformed_header', 'malformed_body', 'not_found'] as const),
]
/** Nobody's credential, nobody's address: the signature says whose it is, and it is counted by its source. */
const note: Note = { tag, counts: 'source', idempotency: 'ignored' }
/** Bytes as they came, and a receipt for them. */
const bytes = () =>
  onlyNoted({
    body: { schema: z.unknown(), contentType: '*/*' },
    returns: { status: 200, schema: Receipt },
  })
const typeOf = (c: HonoContext<AppEnv>) => c.req.raw.headers.get('Content-Type') ?? ''

/** What one of the operator's providers sends, of whatever tenant. */
async function fromProvider(c: HonoContext<AppEnv>, source: Provider): Promise<Response> {
  const request = c.get('request')
  const provider = PROVIDERS[source]
  const secrets = provider.secrets(request.settings)
  if (secrets.length === 0) {
    await countUnknown(c)
    throw problem.notFound('configured provider', source)
  }
  const nobody = contextOf(request, bareTenant(NOBODY))
  const { incoming, signed_by } = await heeding(c, nobody, source, async () => {
    const incoming = await incomingOf(c)
    return { incoming, signed_by: await provider.verify(incoming, secrets) }
  })
  await counting(c, nobody, source, null)
  const { message, said } = await heeding(c, nobody, source, () => {
    const message = messageOf(incoming.body, 'application/json', true)
    return { message, said: provider.read(message.value) }
  })
  const { references, ...known } = said
  const tenantId = await tenantOfReferences(request, source, references)
  const ctx = tenantId === null ? nobody : contextOf(request, bareTenant(tenantId))
  if (tenantId !== null) request.usedBy = { tenant_id: tenantId, caller: 'public' }
  const sender = {
    source,
    source_id: null,
    kind: source,
    name: source,
    subject_path: null,
    signed_by,
    ...known,
  }
  const receipt = await receiveWebhook(ctx, sender, message, incoming.body, source)
  return answerReceipt(c, tenantId === null ? 202 : 200, receipt)
}

/** What a tenant's own source sends. */
async function fromSource(c: HonoContext<AppEnv>, id: string): Promise<Response> {
  const found = await findSource(c.get('request'), id)
  if (!found || !isAdmitted(c.get('request'), found.tenant.id)) await countUnknown(c)
  if (!found) throw problem.notFound('webhook source', id)
  const { source, tenant } = found
  refuseOtherTenant(c.get('request'), tenant.id)
  const { kind, name, hmac, subject_path } = source
  const ctx = contextOf(c.get('request'), tenant)
  const { incoming, signed_by } = await heeding(c, ctx, id, async () => {
    const incoming = await incomingOf(c)
    const secrets = await openSecrets(ctx.settings, source)
    const signed_by = await KINDS[kind].verify(incoming, secrets, hmac)
    c.get('request').usedBy = { tenant_id: tenant.id, caller: 'public' }
    refuseUnlessActive(tenant.status, 'source')
    return { incoming, signed_by }
  })
  await counting(c, ctx, id, Math.min(source.per_minute, limitsOf(tenant).requests_per_minute))
  return heeding(c, ctx, id, async () => {
    const message = messageOf(incoming.body, typeOf(c), KINDS[kind].isJson === true)
    const challenge = fieldOf(message.value, 'challenge')
    if (kind === 'slack' && fieldOf(message.value, 'type') === 'url_verification' && challenge !== null)
      return answerWith(c, 200, challenge, { 'Content-Type': 'text/plain; charset=UTF-8' })
    const said = await KINDS[kind].read(incoming, message, hmac)
    const sender = { source: id, source_id: id, kind, name, subject_path, signed_by, ...said }
    const receipt = await receiveWebhook(ctx, sender, message, incoming.body, providerOfKind(kind))
    return answerKind(c, kind, receipt)
  })
}

const unknown: NonNullable<Note['also']> = [
  { status: 202, schema: Receipt, description: 'Kept, and no event: nobody here asked for what it is about' },
]
const description =
  'Of the operator’s account. It becomes an event of the tenant for which the provider was asked.'

/** Where webhooks come in. */
export const incoming = new Hono<AppEnv>()
  .post(
    '/stripe',
    doc('Take in a webhook of Stripe', { ...note, description, also: unknown, errors }),
    open(),
    bytes(),
    (c) => fromProvider(c, 'stripe'),
  )
  .post(
    '/telnyx',
    doc('Take in a webhook of Telnyx', { ...note, description, also: unknown, errors }),
    open(),
    bytes(),
    (c) => fromProvider(c, 'telnyx'),
  )
  .post(
    '/ultravox',
    doc('Take in a webhook of Ultravox', { ...note, description, also: unknown, errors }),
    open(),
    bytes(),
    (c) => fromProvider(c, 'ultravox'),
  )
  .post(
    '/in/:source_id',
    doc('Take in a webhook of a tenant’s own source', {
      ...note,
      description:
        'Signed as the source’s kind says. Slack’s challenge is answered with itself, Slack otherwise with nothing, Twilio with `<Response/>`.',
      errors: [...errors, 'tenant_mismatch', 'tenant_suspended', 'tenant_cancelled'],
    }),
    open(),
    params({ source_id: Id }),
    bytes(),
    (c) => fromSource(c, c.req.valid('param').source_id),
  )
