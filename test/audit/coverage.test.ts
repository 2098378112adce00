import { env } from 'cloudflare:workers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/lib/ids'
import { asked } from '../chat/callbacks'
import { OPERATIONS, type Operation } from '../contract/operations'
import { pathOf, type Seeded, seed } from '../contract/seeds'
import { pathOf as filePath, presign, upload } from '../files/kit'
import { settleKeys } from '../identity/keys-kit'
import { PASSWORD, someone, tenantOf } from '../identity/kit'
import { codeOf, withApp } from '../identity/mfa-kit'
import { insertPasskey, newAuthenticator } from '../identity/passkey-kit'
import { insertJob } from '../jobs/kit'
import { makeSource, ofGithub, ofStripe, ofTelnyx, ofUltravox, type Sent } from '../webhooks/incoming/kit'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePerson, makeWorld, renew } from '../world'
import { rows } from './kit'

// tenancy.md: every admin action and every change of identity or secret writes one row. An operation joins this test by
// being in the document; one that changes something and writes no row needs a reason.

/** The action of the one row, and the tenant in whose log it is; or why there is none. */
type Recorded = { action: string; tenant?: 'platform' | 'another' } | { none: string }

const OWN_CHAT = 'what people do to their own chats is no administration'
const OWN_FILE = 'what people do with their own files is no administration'
const HIGH_RATE = 'high-rate data, with an event of its own'
const CEREMONY = 'begins what is on record once it has succeeded'
const CALLS = 'calls out and changes nothing'
const COUNTS = 'counts, and changes nothing but for the job that does'

const of = (action: string, tenant?: 'platform' | 'another'): Recorded =>
  tenant ? { action, tenant } : { action }
const none = (reason: string): Recorded => ({ none: reason })

const IN_AUTH: Record<string, Recorded> = {
  'POST /register': of('user.register', 'another'),
  'PATCH /me': of('user.update'),
  'POST /password/forgot': of('user.forgot_password', 'another'),
  'POST /password/reset': of('user.reset_password', 'another'),
  'POST /password/change': of('user.change_password', 'another'),
  'POST /verify-email/confirm': of('user.verify_email', 'another'),
  'POST /verify-email/resend': none('the same mail once more'),
  'POST /login': of('session.create', 'another'),
  'POST /refresh': none('the session goes on as it was; a token that is used twice is on record'),
  'POST /logout': of('session.end'),
  'POST /logout-all': of('session.end_all'),
  'DELETE /sessions/{id}': of('session.end'),
  'POST /mfa/totp': of('totp.enrol'),
  'POST /mfa/totp/confirm': of('totp.confirm'),
  'DELETE /mfa/totp': of('totp.remove', 'another'),
  'POST /mfa/recovery-codes': of('recovery_codes.renew', 'another'),
  'POST /mfa/challenge': of('session.create', 'another'),
  'POST /passkeys/register/options': none(CEREMONY),
  'POST /passkeys/register/verify': of('passkey.create'),
  'POST /passkeys/login/options': none(CEREMONY),
  'POST /passkeys/login/verify': of('session.create'),
  'DELETE /passkeys/{id}': of('passkey.remove'),
  'POST /api-keys': of('api_key.create'),
  'POST /api-keys/{id}/rotate': of('api_key.rotate'),
  'DELETE /api-keys/{id}': of('api_key.revoke'),
  'POST /issuers': of('issuer.create'),
  'PATCH /issuers/{id}': of('issuer.update'),
  'DELETE /issuers/{id}': of('issuer.delete'),
  'DELETE /oauth/accounts/{id}': of('oauth.unlink'),
  'PATCH /providers/{kind}': of('provider.update'),
}

const IN_V1: Record<string, Recorded> = {
  'POST /tenants/onboarding/public': of('tenant.create', 'another'),
  'PATCH /tenants/current': of('tenant.update'),
  'POST /users': of('user.create'),
  'PATCH /users/{id}': of('user.update'),
  'DELETE /users/{id}': of('user.delete'),
  'POST /users/invitations': of('invitation.create'),
  'POST /users/invitations/{id}/resend': of('invitation.resend'),
  'DELETE /users/invitations/{id}': of('invitation.revoke'),
  'POST /teams': of('team.create'),
  'PATCH /teams/{id}': of('team.update'),
  'DELETE /teams/{id}': of('team.delete'),
  'PUT /teams/{id}/members/{user_id}': of('team.add_member'),
  'DELETE /teams/{id}/members/{user_id}': of('team.remove_member'),
  'POST /partners': of('partner.create', 'platform'),
  'PATCH /partners/{id}': of('partner.update', 'platform'),
  'DELETE /partners/{id}': of('partner.delete', 'platform'),
  'PUT /partners/{id}/tenants/{tenant_id}': of('partner.grant_tenant'),
  'DELETE /partners/{id}/tenants/{tenant_id}': of('partner.remove_tenant'),
  'PUT /partners/{id}/users/{user_id}': of('partner.add_user'),
  'DELETE /partners/{id}/users/{user_id}': of('partner.remove_user'),
  'POST /interactions': none(HIGH_RATE),
  'DELETE /interactions/{id}': none(HIGH_RATE),
  'POST /interactions/batch': none(HIGH_RATE),
  'DELETE /interactions': of('interactions.erase'),
  'POST /items': none(HIGH_RATE),
  'PATCH /items/{id}': none(HIGH_RATE),
  'DELETE /items/{id}': none(HIGH_RATE),
  'POST /items/import': of('items.import'),
  'POST /kb': of('knowledge_base.create'),
  'PATCH /kb/{id}': of('knowledge_base.update'),
  'DELETE /kb/{id}': of('knowledge_base.delete'),
  'POST /kb/{id}/files/presign': none(OWN_FILE),
  'POST /kb/{id}/files/ingest': of('knowledge.ingest'),
  'DELETE /kb/{id}/documents/{document_id}': of('knowledge_document.delete'),
  'POST /kb/{id}/search': none('asks, and changes nothing'),
  'POST /campaigns': of('campaign.create'),
  'PATCH /campaigns/{id}': of('campaign.update'),
  'POST /campaigns/{id}/contacts/presign': none(OWN_FILE),
  'POST /campaigns/{id}/contacts': of('campaign.add_contacts'),
  'POST /campaigns/{id}/schedule': of('campaign.schedule'),
  'POST /campaigns/{id}/pause': of('campaign.pause'),
  'POST /campaigns/{id}/resume': of('campaign.resume'),
  'POST /campaigns/{id}/cancel': of('campaign.cancel'),
  'POST /calls': of('call.create'),
  'POST /calls/{id}/end': of('call.end'),
  'POST /calls/tools/{id}': none(CALLS),
  'POST /calls/tools/knowledge': none('looks things up, and changes nothing'),
  'POST /voices': of('voice.create'),
  'POST /voices/files/presign': none(OWN_FILE),
  'PATCH /voices/{id}': of('voice.update'),
  'DELETE /voices/{id}': of('voice.delete'),
  'POST /tools': of('tool.create'),
  'PATCH /tools/{id}': of('tool.update'),
  'DELETE /tools/{id}': of('tool.delete'),
  'POST /tools/{id}/test': none('asks, and changes nothing here'),
  'POST /billing/checkout': of('checkout.create'),
  'POST /billing/subscription': of('checkout.create'),
  'POST /billing/portal': none(CALLS),
  'POST /speakers': none(HIGH_RATE),
  'PATCH /speakers/{id}': none('what is known of a speaker is data of the tenant, as what was said is'),
  'DELETE /speakers/{id}': none('what is known of a speaker is data of the tenant, as what was said is'),
  'POST /recommendations': none('asks, and changes nothing'),
  'POST /recommendations/similar': none('asks, and changes nothing'),
  'POST /alerts/rules': of('alert_rule.create'),
  'PATCH /alerts/rules/{id}': of('alert_rule.update'),
  'DELETE /alerts/rules/{id}': of('alert_rule.delete'),
  'POST /alerts/{id}/acknowledge': of('alert.acknowledge'),
  'POST /tickets': of('ticket.create'),
  'PATCH /tickets/{id}': of('ticket.update'),
  'POST /tickets/{id}/comments': none('a comment is its own record, and is never changed'),
  'PATCH /service': of('tenant.update'),
  'POST /agents': of('agent.create'),
  'PATCH /agents/{id}': of('agent.update'),
  'PUT /agents/{id}': of('agent.update'),
  'DELETE /agents/{id}': of('agent.delete'),
  'POST /agents/{id}/avatar': of('agent.update'),
  'POST /agents/{id}/test': none(CALLS),
  'POST /openai/chat/completions': none(CALLS),
  'POST /chats': none(OWN_CHAT),
  'PUT /chats/{id}': none(OWN_CHAT),
  'PATCH /chats/{id}': none(OWN_CHAT),
  'DELETE /chats/{id}': none(OWN_CHAT),
  'POST /chats/{id}/messages': none(OWN_CHAT),
  'PATCH /chats/{id}/messages/{message_id}': none(OWN_CHAT),
  'POST /chats/{id}/messages/{message_id}/regenerate': none(OWN_CHAT),
  'PUT /chats/{id}/active_leaf': none(OWN_CHAT),
  'POST /chats/{id}/feedback': none(OWN_CHAT),
  'POST /chats/{id}/fork': none(OWN_CHAT),
  'POST /chats/{id}/stop': none(OWN_CHAT),
  'POST /chats/{id}/read': none(OWN_CHAT),
  'POST /chats/{id}/typing': none(OWN_CHAT),
  'POST /push/subscriptions': none('where a user’s own browser is told'),
  'DELETE /push/subscriptions/{id}': none('where a user’s own browser is told'),
  'POST /chats/import': of('chat.import'),
  'PUT /chats/{id}/shares': of('chat.share'),
  'DELETE /chats/{id}/shares': of('chat.unshare'),
  'POST /chats/{id}/attachments': none(OWN_CHAT),
  'PUT /chats/{id}/attachments/{file_id}': none(OWN_CHAT),
  'DELETE /chats/{id}/attachments/{file_id}': none(OWN_CHAT),
  'POST /files/presign': none(OWN_FILE),
  'POST /files/{id}/presign': none(OWN_FILE),
  'POST /files/{id}/complete': none(OWN_FILE),
  'POST /files/{id}/url': none(OWN_FILE),
  'DELETE /files/{id}': none(OWN_FILE),
  'PUT /files/signed/{file_id}': none(OWN_FILE),
  'POST /webhooks': of('endpoint.create'),
  'PATCH /webhooks/{id}': of('endpoint.update'),
  'DELETE /webhooks/{id}': of('endpoint.delete'),
  'PUT /webhooks/by-uid/{uid}': of('endpoint.update'),
  'DELETE /webhooks/by-uid/{uid}': of('endpoint.delete'),
  'POST /webhooks/{id}/test': none(CALLS),
  'POST /webhooks/{id}/enable': of('endpoint.enable'),
  'POST /webhooks/{id}/pause': of('endpoint.pause'),
  'GET /webhooks/{id}/secret': of('endpoint.read_secret'),
  'POST /webhooks/{id}/secret/rotate': of('endpoint.rotate_secret'),
  'POST /webhooks/signing-keys/rotate': of('webhook_key.rotate'),
  'POST /webhooks/filter/test': none('looks at the last events, and changes nothing'),
  'POST /webhooks/{id}/filter/test': none('looks at the last events, and changes nothing'),
  'PUT /secrets/{name}': of('secret.replace'),
  'DELETE /secrets/{name}': of('secret.delete'),
  'POST /webhooks/sources': of('webhook_source.create'),
  'PATCH /webhooks/sources/{id}': of('webhook_source.update'),
  'DELETE /webhooks/sources/{id}': of('webhook_source.delete'),
  'POST /webhooks/in/{source_id}': none(HIGH_RATE),
  'POST /webhooks/stripe': none(HIGH_RATE),
  'POST /runs/{id}/events': none(OWN_CHAT),
  'POST /webhooks/telnyx': none(HIGH_RATE),
  'POST /webhooks/ultravox': none(HIGH_RATE),
  'POST /deliveries/{id}/retry': of('delivery.retry'),
  'POST /deliveries/{id}/cancel': of('delivery.cancel'),
  'POST /webhooks/{id}/recover': of('endpoint.recover'),
  'POST /realtime/ticket': none('a ticket lives for seconds, and stands for who asked'),
  'POST /jobs/{id}/cancel': of('job.cancel'),
  'POST /workflows': of('workflow.create'),
  'PATCH /workflows/{id}': of('workflow.update'),
  'DELETE /workflows/{id}': of('workflow.delete'),
  'POST /workflows/{id}/start': of('workflow.start'),
  'POST /jobs/{id}/retry': of('job.retry'),
  'POST /webhooks/event-types': of('event_type.create'),
  'PATCH /webhooks/event-types/{name}': of('event_type.update'),
  'DELETE /webhooks/event-types/{name}': of('event_type.delete'),
  'POST /events': none(HIGH_RATE),
  'POST /app': of('application.create'),
  'PUT /app/{app_id}': of('application.update'),
  'PATCH /app/{app_id}': of('application.update'),
  'DELETE /app/{app_id}': of('application.delete'),
  'POST /app/{app_id}/endpoint': of('endpoint.create'),
  'PUT /app/{app_id}/endpoint/{endpoint_id}': of('endpoint.update'),
  'PATCH /app/{app_id}/endpoint/{endpoint_id}': of('endpoint.update'),
  'DELETE /app/{app_id}/endpoint/{endpoint_id}': of('endpoint.delete'),
  'GET /app/{app_id}/endpoint/{endpoint_id}/secret': of('endpoint.read_secret'),
  'POST /app/{app_id}/endpoint/{endpoint_id}/secret/rotate': of('endpoint.rotate_secret'),
  'PUT /app/{app_id}/endpoint/{endpoint_id}/headers': of('endpoint.update'),
  'PATCH /app/{app_id}/endpoint/{endpoint_id}/headers': of('endpoint.update'),
  'PATCH /app/{app_id}/endpoint/{endpoint_id}/transformation': none('there are none, and it stays so'),
  'POST /app/{app_id}/endpoint/{endpoint_id}/recover': of('endpoint.recover'),
  'POST /app/{app_id}/endpoint/{endpoint_id}/replay-missing': of('endpoint.recover'),
  'POST /app/{app_id}/endpoint/{endpoint_id}/bulk-replay': of('endpoint.recover'),
  'POST /app/{app_id}/endpoint/{endpoint_id}/send-example': of('endpoint.send_example'),
  'POST /app/{app_id}/msg': none(HIGH_RATE),
  'POST /app/{app_id}/msg/precheck/active': none('asks, and changes nothing'),
  'DELETE /app/{app_id}/msg/{msg_id}/content': of('event.erase'),
  'DELETE /app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content': of('attempt.erase'),
  'POST /app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend': of('delivery.retry'),
  'POST /stats/usage/app': none(COUNTS),
  'PUT /stats/usage/event-types': none(COUNTS),
  'POST /event-type': of('event_type.create'),
  'PUT /event-type/{event_type_name}': of('event_type.update'),
  'PATCH /event-type/{event_type_name}': of('event_type.update'),
  'DELETE /event-type/{event_type_name}': of('event_type.update'),
  'POST /events/batch': none(HIGH_RATE),
  'DELETE /events': of('event.erase'),
}

const OF_PLATFORM: Record<string, Recorded> = {
  'POST /tenants': of('tenant.create', 'another'),
  'PATCH /tenants/{id}': of('tenant.update'),
  'DELETE /tenants/{id}': of('tenant.cancel'),
  'POST /tenants/{id}/credits': of('credit.grant'),
  'POST /api-keys': of('api_key.create'),
  'DELETE /api-keys/{id}': of('api_key.revoke'),
  'POST /keys/rotate': of('signing_key.rotate', 'platform'),
  'POST /keys/reseal': of('master_key.reseal', 'platform'),
}

const under = (prefix: string, table: Record<string, Recorded>) =>
  Object.entries(table).map(([name, recorded]) => [name.replace(' ', ` ${prefix}`), recorded] as const)
const RECORDED = Object.fromEntries([
  ...under('/api/v1/auth', IN_AUTH),
  ...under('/api/v1', IN_V1),
  ...under('/api/platform', OF_PLATFORM),
  ...under('/api/admin', OF_PLATFORM),
])

/** `signed`: bytes, with the headers of who sent them; no credential but the token. */
type Asked = { token?: string | null; body?: object; path?: string; signed?: Sent }
type Registration = { challenge: string; user: { id: string } }

const mailed = (email: string, path: string) =>
  eventually(async () => {
    const mails = await rows<{ text: string }>('select text from mails where "to" = ?', email)
    const links = mails.map(({ text }) => new RegExp(`/${path}#token=([\\w-]{43})\\b`).exec(text)?.[1])
    return links.find((link) => link !== undefined)
  })

/** What an operation needs besides the seed and the document's example. */
const READY: Record<string, (a: Seeded) => Promise<Asked>> = {
  // The seed has the user there, and what changes nothing is not on record.
  'PUT /api/v1/partners/{id}/users/{user_id}': async (a) => {
    const path = `/api/v1/partners/${a.ids['/api/v1/partners/{id}']}/users/${a.world.admin.user.id}`
    expect((await call('DELETE', path, { token: a.platform.token })).status).toBe(204)
    return {}
  },
  'PATCH /api/v1/auth/issuers/{id}': async () => ({ body: { aud: 'another' } }),
  'PATCH /api/v1/webhooks/event-types/{name}': async () => ({ body: { description: 'Another' } }),
  'PATCH /api/v1/event-type/{event_type_name}': async () => ({ body: { description: 'Another' } }),
  'PATCH /api/v1/kb/{id}': async () => ({ body: { description: 'Another' } }),
  'PATCH /api/v1/workflows/{id}': async () => ({ body: { description: 'Another' } }),
  'POST /api/v1/webhooks/{id}/enable': async (a) => {
    const path = `/api/v1/webhooks/${a.ids['/api/v1/webhooks/{id}']}/pause`
    expect((await call('POST', path, { token: a.world.admin.token })).status).toBe(200)
    return {}
  },
  'POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example': async () => ({
    body: { eventType: 'seed.signup' },
  }),
  'POST /api/v1/auth/password/forgot': async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    return { body: { email } }
  },
  'POST /api/v1/auth/password/reset': async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    await callJson('POST', '/api/v1/auth/password/forgot', { body: { email } })
    return { body: { token: await mailed(email, 'reset-password') } }
  },
  'POST /api/v1/auth/password/change': async () => {
    const { admin } = await tenantOf(someone(), { verified: true })
    return { token: admin.token, body: { current_password: PASSWORD } }
  },
  'POST /api/v1/auth/verify-email/confirm': async () => {
    const email = someone()
    await callJson('POST', '/api/v1/auth/register', {
      body: { email, password: 'a long and unusual phrase' },
    })
    return { body: { token: await mailed(email, 'verify-email') } }
  },
  'POST /api/v1/auth/login': async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    return { body: { email, password: PASSWORD } }
  },
  'POST /api/v1/auth/refresh': async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    const { data } = await callJson<{ refresh_token: string }>('POST', '/api/v1/auth/login', {
      body: { email, password: PASSWORD },
    })
    return { body: { refresh_token: data.refresh_token } }
  },
  'POST /api/v1/auth/mfa/totp/confirm': async ({ world }) => {
    const { token } = await makePerson(world.tenant, 'member')
    const { data } = await callJson<{ secret: string }>('POST', '/api/v1/auth/mfa/totp', { token })
    return { token, body: { code: codeOf(data.secret) } }
  },
  'DELETE /api/v1/auth/mfa/totp': async () => {
    const { token, secret } = await withApp()
    return { token, body: { code: codeOf(secret) } }
  },
  'POST /api/v1/auth/mfa/recovery-codes': async () => {
    const { token, secret } = await withApp()
    return { token, body: { code: codeOf(secret) } }
  },
  'POST /api/v1/auth/mfa/challenge': async () => {
    const app = await withApp()
    const { challenge } = await app.challenged()
    return { body: { challenge, code: codeOf(app.secret) } }
  },
  'POST /api/v1/auth/passkeys/register/verify': async ({ world: { admin } }) => {
    const { data } = await callJson<Registration>('POST', '/api/v1/auth/passkeys/register/options', admin)
    return { body: { response: await (await newAuthenticator()).create(data) } }
  },
  'POST /api/v1/auth/passkeys/login/verify': async ({ world: { member } }) => {
    const device = await newAuthenticator()
    const { data } = await callJson<Registration>('POST', '/api/v1/auth/passkeys/register/options', member)
    const body = { response: await device.create(data) }
    await callJson('POST', '/api/v1/auth/passkeys/register/verify', { token: member.token, body })
    const options = await callJson<{ challenge: string }>('POST', '/api/v1/auth/passkeys/login/options')
    return { body: { response: await device.get(options.data) } }
  },
  'DELETE /api/v1/auth/passkeys/{id}': async ({ world }) => {
    // The last way to log in can't be removed.
    await insertPasskey(world.admin.user)
    return {}
  },
  'POST /api/v1/deliveries/{id}/cancel': async ({ world }) => {
    const id = newId(Date.now())
    // One like another, but for its end.
    await env.DB.prepare(
      `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, created_at)
       select tenant_id, ?, event_id, event_type, endpoint_id, 'held', created_at from deliveries
       where tenant_id = ? and status = 'delivered' limit 1`,
    )
      .bind(id, world.tenant.id)
      .run()
    return { path: `/api/v1/deliveries/${id}/cancel` }
  },
  // One that waits, and one that failed.
  'POST /api/v1/jobs/{id}/cancel': async ({ world }) => ({
    path: `/api/v1/jobs/${await insertJob(world.tenant.id, { status: 'queued' })}/cancel`,
  }),
  'POST /api/v1/jobs/{id}/retry': async ({ world }) => ({
    path: `/api/v1/jobs/${await insertJob(world.tenant.id, { status: 'failed', next_at: null })}/retry`,
  }),
  'POST /api/v1/event-type': async () => ({ body: { name: `user.${crypto.randomUUID()}` } }),
  'POST /api/v1/webhooks/event-types': async () => ({ body: { name: `order.${crypto.randomUUID()}` } }),
  'POST /api/v1/interactions/batch': async ({ world }) => ({
    token: world.admin.token,
    signed: { body: '{"text":"Seed"}', headers: { 'Content-Type': 'application/x-ndjson' } },
  }),
  'DELETE /api/v1/interactions': async () => ({ path: '/api/v1/interactions?user_id=customer-42' }),
  'POST /api/v1/items/import': async ({ world }) => {
    const file = await upload(world.admin, 'external_id,title\nseed,Seed\n', { filename: 'seed.csv' })
    return { body: { file_id: file.id } }
  },
  'POST /api/admin/tenants/{id}/credits': async () => ({ body: { reference: crypto.randomUUID() } }),
  ...Object.fromEntries(
    [
      ['schedule', 'draft'],
      ['pause', 'scheduled'],
      ['resume', 'paused'],
    ].map(([verb, status]) => [
      `POST /api/v1/campaigns/{id}/${verb}`,
      async ({ world }: Seeded) => {
        await env.DB.prepare('update campaigns set status = ? where tenant_id = ?')
          .bind(status, world.tenant.id)
          .run()
        return {}
      },
    ]),
  ),
  'POST /api/v1/kb/{id}/files/ingest': async ({ world }) => ({
    body: { file_ids: [(await upload(world.admin, 'Seed', { filename: 'seed.md' })).id] },
  }),
  'POST /api/v1/files/{id}/presign': async ({ world }) => ({
    path: `/api/v1/files/${(await presign(world.admin, { size: 5 })).data.file_id}/presign`,
  }),
  'POST /api/v1/speakers': async () => ({ body: { id: crypto.randomUUID() } }),
  'DELETE /api/v1/events': async () => ({ path: '/api/v1/events?subject=customer-42' }),
  'PUT /api/v1/teams/{id}/members/{user_id}': async ({ world, ids }) => ({
    path: `/api/v1/teams/${ids['/api/v1/teams/{id}']}/members/${world.viewer.user.id}`,
  }),
  'POST /api/platform/keys/rotate': () => settleKeys().then(() => ({})),
  'POST /api/admin/keys/rotate': () => settleKeys().then(() => ({})),
  'PUT /api/v1/files/signed/{file_id}': async ({ world }) => {
    const { data } = await presign(world.admin, { size: 5 })
    return {
      path: filePath(data.url),
      signed: { body: 'hello', headers: { ...data.headers, 'Content-Length': '5' } },
    }
  },
  'POST /api/v1/webhooks/in/{source_id}': async ({ world }) => ({
    path: `/api/v1/webhooks/in/${await makeSource(world, { kind: 'github' })}`,
    signed: ofGithub('{}'),
  }),
  'POST /api/v1/runs/{id}/events': async ({ world }) => {
    const { agent } = await asked(world)
    const body = JSON.stringify({ sequence: 1, events: [{ type: 'done', data: {} }] })
    const headers = { 'X-Causeway-Run-Token': agent.token, 'Content-Type': 'application/json' }
    return { path: `/api/v1/runs/${agent.runId}/events`, signed: { body, headers } }
  },
  'POST /api/v1/calls/tools/{id}': async ({ world, ids, callToken }) => {
    const tool = ids['/api/v1/calls/tools/{id}'] ?? ''
    const body = { tools: [tool] }
    await callJson('PATCH', `/api/v1/agents/${ids['/api/v1/agents/{id}']}`, {
      token: world.admin.token,
      body,
    })
    return { path: `/api/v1/calls/tools/${tool}`, signed: onCall(callToken, {}) }
  },
  'POST /api/v1/calls/tools/knowledge': async ({ callToken }) => ({
    signed: onCall(callToken, { query: 'parcels' }),
  }),
  'POST /api/v1/webhooks/stripe': async () => ({ signed: ofStripe({ id: crypto.randomUUID(), type: 'x' }) }),
  'POST /api/v1/webhooks/telnyx': async () => ({
    signed: ofTelnyx({ data: { id: crypto.randomUUID(), event_type: 'x' } }),
  }),
  'POST /api/v1/webhooks/ultravox': async () => ({
    signed: ofUltravox({ event: 'x', call: { callId: crypto.randomUUID() } }),
  }),
  'POST /api/v1/chats/import': async ({ ids }) => ({
    path: `/api/v1/chats/import?agent_id=${ids['/api/v1/agents/{id}']}`,
  }),
  'PATCH /api/v1/users/{id}': async () => ({ body: { full_name: 'Grace Hopper' } }),
  'PATCH /api/v1/auth/me': async () => ({ body: { full_name: 'Grace Hopper' } }),
  'PATCH /api/v1/service': async () => ({ body: { service_enabled: false } }),
}

const SOURCES = import.meta.glob<string>('../../src/**/*.ts', {
  query: '?raw',
  import: 'default',
  eager: true,
})

const onCall = (token: string, body: object) => ({
  body: JSON.stringify(body),
  headers: { 'X-Causeway-Call-Token': token, 'Content-Type': 'application/json' },
})

/** What ends what others need: each has a tenant of its own. */
const isAlone = ({ method, path }: Operation) =>
  method === 'DELETE' || /\/(logout|logout-all|retry|suspend|cancel|end|service)$/.test(path)

let shared: Seeded
beforeAll(async () => {
  await settleKeys()
  shared = await seed()
}, 60_000)
afterAll(settleKeys)

const PNG = Uint8Array.from(
  atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
  (char) => char.charCodeAt(0),
)

/** The document's example, with what stands for something that is there, or has to be new. */
function bodyOf(a: Seeded, example: unknown): object {
  const some = crypto.randomUUID()
  const real: Record<string, string> = {
    agent_id: a.ids['/api/v1/agents/{id}'] ?? '',
    model: a.ids['/api/v1/agents/{id}'] ?? '',
    team_id: a.ids['/api/v1/teams/{id}'] ?? '',
    message_id: a.ids['/api/v1/chats/{id}/messages/{message_id}'] ?? '',
    tenant_id: a.world.tenant.id,
    slug: `t-${some.slice(0, 12)}`,
    email: `${some}@example.com`,
    // Of letters that a tool’s may have.
    name: `Name-${some}`,
    iss: `https://${some}.example.com/`,
    url: `${env.RECEIVER_URL}/hook/to?key=${some}`,
    webhook_url: `${env.RECEIVER_URL}/upstream/none`,
    admin_email: `admin-${some}@example.com`,
  }
  const sent = Object.entries(example as object).filter(([name]) => name !== 'is_active')
  return Object.fromEntries(sent.map(([name, value]) => [name, real[name] ?? value]))
}

/** Asks as the one who may, under a request id of its own; answers with what was sent too. */
async function ask(a: Seeded, op: Operation, ready: Asked, more: Record<string, string> = {}) {
  const requestId = `req_${crypto.randomUUID()}`
  const own = op.platform ? a.platform.token : a.world.admin.token
  const token = ready.token ?? (op.open ? null : own)
  const credential = token === null ? {} : { token }
  const headers: Record<string, string> = { 'X-Request-ID': requestId, Accept: 'application/json', ...more }
  const path = ready.path ?? pathOf(a, op.path)
  if (op.contentType === 'multipart/form-data') {
    const form = new FormData()
    form.set('file', new Blob([PNG], { type: 'image/png' }), 'a.png')
    const request = new Request('http://localhost/', { method: 'POST', body: form })
    const raw = await request.arrayBuffer()
    headers['Content-Type'] = request.headers.get('Content-Type') ?? ''
    headers['Content-Length'] = String(raw.byteLength)
    return { requestId, sent: {}, answer: await call(op.method, path, { ...credential, headers, raw }) }
  }
  if (ready.signed) {
    const signed = { ...headers, ...ready.signed.headers }
    return {
      requestId,
      sent: {},
      answer: await call(op.method, path, {
        ...(ready.token ? { token: ready.token } : {}),
        ...{ raw: ready.signed.body, headers: signed },
      }),
    }
  }
  const sent = op.body ? { ...bodyOf(a, op.body.example), ...ready.body } : undefined
  const body = sent === undefined ? {} : { body: sent }
  return { requestId, sent, answer: await call(op.method, path, { ...credential, headers, ...body }) }
}

type Row = { tenant_id: string; action: string; actor_id: string | null; address: string | null }
const recordedOf = (requestId: string) => rows<Row>('select * from audit_log where request_id = ?', requestId)

/** Words that were sent or answered and are nobody's business at rest. */
function secretsIn(value: unknown, name = ''): string[] {
  if (typeof value === 'string')
    return /secret|token|password|challenge|^code$|_codes$|^key$|^uri$/i.test(name) ? [value] : []
  if (typeof value !== 'object' || value === null) return []
  const isList = Array.isArray(value)
  return Object.entries(value).flatMap(([key, child]) => secretsIn(child, isList ? name : key))
}

/** Hashes of passwords, tokens, keys, signing secrets, and what a Sealer made. */
const SECRET =
  /\$(?:scrypt|2[aby]|argon2)|eyJ[\w-]{8,}\.eyJ|sk_(?:live|test)_\w{12,}|whsec_\w|\bv[12]\.[\w-]{8,}\.[\w-]{16}/

const writes = OPERATIONS.filter(
  ({ method, name }) => (method !== 'GET' && method !== 'HEAD') || name in RECORDED,
)

describe('what is on record', { timeout: 30_000 }, () => {
  it('is decided for every operation that changes something', () => {
    expect(writes.map(({ name }) => name).sort()).toEqual(Object.keys(RECORDED).sort())
  })

  it('is recognised where it is a secret', () => {
    for (const text of [
      '$scrypt$ln=14,r=8,p=5$kEkz$bDgY',
      '$2b$10$abc',
      'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.x',
      'sk_live_0123456789abcdefghij',
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'v2.AAAAAAAA.BBBBBBBBBBBBBBBB.CCCCCCCCCCCCCCCCCCCCCCCC',
    ])
      expect(text).toMatch(SECRET)
    expect('sk_live_abcd 0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d').not.toMatch(SECRET)
    const answer = { recovery_codes: ['abc'], data: { secret: 'def', name: 'ghi' }, access_token: 'jkl' }
    expect(secretsIn(answer)).toEqual(['abc', 'def', 'jkl'])
  })

  for (const op of writes) {
    const recorded: Recorded = RECORDED[op.name] ?? none('')
    const what = 'none' in recorded ? `nothing (${recorded.none})` : recorded.action
    it(`${op.name}: ${what}`, async () => {
      const a = isAlone(op) ? await seed() : shared
      // What was done before may have changed what the token stood for.
      await renew(a.world.admin)
      const { requestId, sent, answer } = await ask(a, op, (await READY[op.name]?.(a)) ?? {})
      const said = await answer.text()
      expect([op.name, answer.status < 300, said]).toEqual([op.name, true, said])
      if ('none' in recorded) return expect(await recordedOf(requestId)).toEqual([])
      // Some are written after the answer.
      const found = await eventually(async () => {
        const now = await recordedOf(requestId)
        return now.length > 0 && now
      })
      expect([op.name, found.map(({ action }) => action)]).toEqual([op.name, [recorded.action]])
      const log = found[0]?.tenant_id
      if (recorded.tenant === 'platform') expect(log).toBe(a.platform.user.tenant_id)
      else expect(log === a.world.tenant.id).toBe(recorded.tenant === undefined)
      if (!op.open) expect(found[0]?.actor_id).toMatch(/^[0-9a-f-]{36}$/)
      const text = JSON.stringify(found)
      expect(text).not.toMatch(SECRET)
      const json = answer.headers.get('Content-Type')?.startsWith('application/json')
        ? JSON.parse(said)
        : null
      for (const secret of secretsIn([sent, json])) expect(text).not.toContain(secret)
    })
  }

  const ofTenants = writes.filter(({ open, platform }) => !open && !platform)
  const withIds = ofTenants.filter(({ params }) => params.length > 0)

  it('is nothing where nothing was changed: without the scope, of another tenant, or out of date', async () => {
    const [a, stranger] = [shared, await makeWorld()]
    await renew(a.world.viewer)
    const seen = { insufficient_scope: 0, not_found: 0, precondition_failed: 0 }
    const refused = async (
      op: Operation,
      ready: Asked,
      headers: Record<string, string>,
      code: keyof typeof seen,
    ) => {
      const { requestId, answer } = await ask(a, op, ready, headers)
      const { error } = await answer.json<{ error?: { code: string } }>().catch(() => ({ error: undefined }))
      if (error?.code !== code) return
      seen[code] += 1
      expect([op.name, code, await recordedOf(requestId)]).toEqual([op.name, code, []])
    }
    for (const op of ofTenants)
      if (op.scopes.length > 0) await refused(op, { token: a.world.viewer.token }, {}, 'insufficient_scope')
    for (const op of withIds) await refused(op, { token: stranger.admin.token }, {}, 'not_found')
    for (const op of withIds)
      await refused(op, { token: a.world.apiKey }, { 'If-Match': '"v999"' }, 'precondition_failed')
    expect(seen.insufficient_scope).toBeGreaterThan(30)
    expect(seen.not_found).toBeGreaterThan(30)
    expect(seen.precondition_failed).toBeGreaterThan(15)
  })

  it('is only ever added to', () => {
    // The rows of a tenant go with the tenant (tenancy/deletions), found by their table's tenant_id.
    const writers = Object.entries(SOURCES).filter(([, text]) =>
      /\.(?:update|delete)\(\s*(?:auditLog|auditSeals)\b|(?:update|delete from|replace into)\s+\W*audit_(?:log|seals)\b/i.test(
        text,
      ),
    )
    expect(writers.map(([path]) => path)).toEqual([])
    const adders = Object.entries(SOURCES).filter(([, text]) => /insert\(auditLog\)/.test(text))
    expect(adders.map(([path]) => path)).toEqual(['../../src/data/record.ts'])
  })
})
