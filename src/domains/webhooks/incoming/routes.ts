import { Hono, type Context as HonoContext } from 'hono'
import * as z from 'zod'
import { bareTenant } from '../../../data/system'
import type { AppEnv } from '../../../http/app-env'
import { type Note, onlyNoted } from '../../../http/notes'
import { doc, Id, open, params, returns } from '../../../http/route'
import type { ProblemCode } from '../../../lib/problem'
import { KINDS, providerOfKind } from './kinds'
import { fieldOf, messageOf } from './message'
import { PROVIDERS } from './providers'
import { receiveWebhook, type Receipt as Taken } from './receive'
import { tenantOfReferences } from './references'
import { Receipt } from './schema'
import { keyOfSender, ofProvider, ofSource, type Proven, plain } from './senders'
import type { Provider, SourceRow } from './table'
import { answerChallenge, answerOtherwise, contextOf } from './take'

const tag = 'incoming webhooks'
const errors: ProblemCode[] = [
  ...(['signature_required', 'invalid_signature', 'signature_expired'] as const),
  ...(['malformed_header', 'malformed_body', 'not_found'] as const),
]
/** Nobody's credential, nobody's address: the signature says whose it is, and it is counted by its source. */
const note: Note = { tag, counts: 'source', idempotency: 'proven' }
/** Bytes as they came. */
const bytes = () => onlyNoted({ body: { schema: z.unknown(), contentType: '*/*' } })

/** What one of the operator's providers sent: an event of the tenant for which the provider was asked. */
async function fromProvider(c: HonoContext<AppEnv>, source: Provider, proven: Proven) {
  const request = c.get('request')
  const { ctx: nobody, incoming, signed_by } = proven
  const message = messageOf(incoming.body, 'application/json', true)
  const { references, ...known } = PROVIDERS[source].read(message.value)
  const tenantId = await tenantOfReferences(request, source, references)
  const ctx = tenantId === null ? nobody : contextOf(request, bareTenant(tenantId))
  if (tenantId !== null) request.usedBy = { tenant_id: tenantId, caller: 'public' }
  const sender = {
    ...{ source, source_id: null, kind: source, name: source, subject_path: null, signed_by },
    ...known,
  }
  return receiveWebhook(ctx, sender, message, incoming.body, source)
}

/** What a tenant's own source sent: a receipt, or what its kind takes for an answer. */
async function fromSource(
  c: HonoContext<AppEnv>,
  source: SourceRow,
  { ctx, incoming, signed_by }: Proven,
): Promise<{ challenge: string } | { receipt: Taken }> {
  const { id, kind, name, hmac, subject_path } = source
  const type = c.req.raw.headers.get('Content-Type') ?? ''
  const message = messageOf(incoming.body, type, KINDS[kind].isJson === true)
  const challenge = fieldOf(message.value, 'challenge')
  if (kind === 'slack' && fieldOf(message.value, 'type') === 'url_verification' && challenge !== null)
    return { challenge }
  const said = await KINDS[kind].read(incoming, message, hmac)
  const sender = { source: id, source_id: id, kind, name, subject_path, signed_by, ...said }
  return { receipt: await receiveWebhook(ctx, sender, message, incoming.body, providerOfKind(kind)) }
}

const nobodys: NonNullable<Note['also']> = [
  { status: 202, schema: Receipt, description: 'Kept, and no event: nobody here asked for what it is about' },
]
const statusOf = (receipt: Taken) => (receipt.event_id === null ? 202 : 200)
const ofAccount: Note = {
  ...note,
  description:
    'Of the operator’s account. It becomes an event of the tenant for which the provider was asked.',
  also: nobodys,
  errors,
}

/** Where webhooks come in. */
export const incoming = new Hono<AppEnv>()
  .post(
    '/stripe',
    doc('Take in a webhook of Stripe', ofAccount),
    open(),
    ofProvider('stripe'),
    keyOfSender,
    bytes(),
    returns(200, Receipt, { statusOf }),
    async (c) => c.var.reply(await fromProvider(plain(c), 'stripe', c.var.webhook)),
  )
  .post(
    '/telnyx',
    doc('Take in a webhook of Telnyx', ofAccount),
    open(),
    ofProvider('telnyx'),
    keyOfSender,
    bytes(),
    returns(200, Receipt, { statusOf }),
    async (c) => c.var.reply(await fromProvider(plain(c), 'telnyx', c.var.webhook)),
  )
  .post(
    '/ultravox',
    doc('Take in a webhook of Ultravox', ofAccount),
    open(),
    ofProvider('ultravox'),
    keyOfSender,
    bytes(),
    returns(200, Receipt, { statusOf }),
    async (c) => c.var.reply(await fromProvider(plain(c), 'ultravox', c.var.webhook)),
  )
  .post(
    '/in/:source_id',
    doc('Take in a webhook of a tenant’s own source', {
      ...note,
      description:
        'Signed as the source’s kind says. Slack’s challenge is answered with itself, Slack otherwise with nothing, Twilio with `<Response/>`.',
      errors,
    }),
    open(),
    params({ source_id: Id }),
    ofSource(),
    keyOfSender,
    bytes(),
    returns(200, Receipt),
    async (c) => {
      const { source } = c.var.webhook
      if (!source) throw new Error('a source is proven by its own secrets')
      const taken = await fromSource(plain(c), source, c.var.webhook)
      if ('challenge' in taken) return answerChallenge(plain(c), taken.challenge)
      return answerOtherwise(plain(c), source.kind) ?? c.var.reply(taken.receipt)
    },
  )
