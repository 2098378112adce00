import { type Context, Hono } from 'hono'
import { auditRoutes } from './domains/audit/routes'
import { checkoutRoutes } from './domains/billing/checkouts/routes'
import { simulatedCheckoutRoutes } from './domains/billing/checkouts/simulated-routes'
import { billing, platformCredit } from './domains/billing/routes'
import { conversationRoutes } from './domains/catalog/conversations/routes'
import { interactionRoutes } from './domains/catalog/interactions/routes'
import { itemRoutes } from './domains/catalog/items/routes'
import { recommendationRoutes } from './domains/catalog/recommendations/routes'
import { serviceRoutes } from './domains/catalog/service/routes'
import { speakerRoutes } from './domains/catalog/speakers/routes'
import { agents } from './domains/chat/agents/routes'
import { chats } from './domains/chat/chats/routes'
import { openaiRoutes } from './domains/chat/openai/routes'
import { pushRoutes } from './domains/chat/push/routes'
import { runs } from './domains/chat/runs/routes'
import { sharedRoutes } from './domains/chat/shares/link-routes'
import { events } from './domains/events/routes'
import { eventTypeRoutes } from './domains/events/types/routes'
import { fileRoutes } from './domains/files/routes'
import { signedFileRoutes } from './domains/files/signed-routes'
import { apiKeyRoutes } from './domains/identity/api-keys/routes'
import { authenticate } from './domains/identity/authenticate'
import { clientRoutes } from './domains/identity/clients/routes'
import { invitationRoutes } from './domains/identity/invitations/routes'
import { issuerRoutes } from './domains/identity/issuers/routes'
import { memberRoutes } from './domains/identity/members/routes'
import { mfaRoutes } from './domains/identity/mfa/routes'
import { oauthRoutes } from './domains/identity/oauth/routes'
import { accountPages } from './domains/identity/pages/routes'
import { passkeyRoutes } from './domains/identity/passkeys/routes'
import { sessionRoutes } from './domains/identity/sessions/routes'
import { wellKnown } from './domains/identity/tokens/routes'
import { userRoutes } from './domains/identity/users/routes'
import { jobRoutes } from './domains/jobs/routes'
import { knowledgeRoutes } from './domains/knowledge/routes'
import { devMail } from './domains/mail/routes'
import { actingStands, refuseFallen, stillStands } from './domains/metering/changes/middleware'
import { idempotency } from './domains/metering/idempotency/middleware'
import { admitActing, admitAddress, admitTenant, countRefusal } from './domains/metering/limits/middleware'
import { limitRoutes } from './domains/metering/limits/routes'
import { usageMeter } from './domains/metering/usage/middleware'
import { partnerUsageRoutes } from './domains/metering/usage/partner-routes'
import { usageRoutes } from './domains/metering/usage/routes'
import { alertRoutes } from './domains/operations/alerts/routes'
import { analyticsRoutes } from './domains/operations/analytics/routes'
import { documents } from './domains/operations/docs/routes'
import { health, liveness } from './domains/operations/health/routes'
import { metrics } from './domains/operations/metrics/routes'
import { monitoringRoutes } from './domains/operations/monitoring/routes'
import { statsRoutes } from './domains/operations/stats/routes'
import { ticketRoutes } from './domains/operations/tickets/routes'
import { portalRoutes } from './domains/portal/routes'
import { providerAccountRoutes } from './domains/providers/routes'
import { realtimeSocket, realtimeTickets } from './domains/realtime/routes'
import { secretRoutes } from './domains/secrets/routes'
import { svixRoutes } from './domains/svix/routes'
import { actElsewhere, recordActing } from './domains/tenancy/acting/middleware'
import { authorize } from './domains/tenancy/authorize'
import { checkTenant, routeBoundary } from './domains/tenancy/boundary'
import { deletionRoutes } from './domains/tenancy/deletions/routes'
import { partnerRoutes } from './domains/tenancy/partners/routes'
import { platform } from './domains/tenancy/platform/routes'
import { teamRoutes } from './domains/tenancy/teams/routes'
import { tenantRoutes } from './domains/tenancy/tenants/routes'
import { toolRoutes } from './domains/tools/routes'
import { callRoutes } from './domains/voice/calls/routes'
import { contactRoutes } from './domains/voice/campaigns/contact-routes'
import { campaignRoutes } from './domains/voice/campaigns/routes'
import { onCallRoutes } from './domains/voice/ultravox/routes'
import { voiceRoutes } from './domains/voice/voices/routes'
import { deliveries } from './domains/webhooks/deliveries/routes'
import { webhooks } from './domains/webhooks/endpoints/routes'
import { erasureRoutes } from './domains/webhooks/erasures/routes'
import { explainRoutes } from './domains/webhooks/explain/routes'
import { providerRoutes } from './domains/webhooks/incoming/platform-routes'
import { incoming } from './domains/webhooks/incoming/routes'
import { receivedRoutes, sourceRoutes } from './domains/webhooks/incoming/sources-routes'
import { pollingRoutes } from './domains/webhooks/polling/routes'
import { recoveryRoutes } from './domains/webhooks/recovery/routes'
import { webhookJwks, webhookKeyRoutes } from './domains/webhooks/signing-keys/routes'
import { workflowRoutes } from './domains/workflows/routes'
import type { AppEnv } from './http/app-env'
import { requestContext } from './http/context'
import { requestMetrics } from './http/measure'
import { answerUnknown } from './http/method'
import { problemResponse } from './http/problems'
import { readsOf } from './http/reads'
import { RememberingRouter } from './http/router'
import { crossOrigin, requireHttps, trustedHost } from './http/security'

// The whole HTTP surface on one page: the life of a request from top to bottom, then the routes.

export const app = new Hono<AppEnv>({ strict: false, router: new RememberingRouter() })

const refuse = async (error: Error, c: Context<AppEnv>) => problemResponse(c, await countRefusal(c, error))

app.onError(refuse)

// Ids, clock, settings; the headers of every answer; the log line.
app.use(
  requestContext({
    checks: [
      trustedHost,
      requireHttps,
      crossOrigin, // a preflight ends here
      admitAddress, // who needs no credential is counted by address
      authenticate, // who is calling, and with it the tenant
      refuseFallen, // a credential that is known not to count goes no further
      admitTenant, // counted from memory; a lease brings what changed
      stillStands, // the credential against what was learned since
      actElsewhere, // the platform, or a partner's user, in the tenant that a header names
      admitActing, // a partner's counts there too
      actingStands, // what changed there
      recordActing, // the platform's is on record before it is done
      checkTenant, // a tenant that a header names must be that one
      routeBoundary, // platform routes for the platform, tenant routes for tenants
      authorize, // the scopes that the route asks for
    ],
    refuse,
    answered: [requestMetrics, usageMeter],
  }),
)
app.on(['POST', 'PUT', 'PATCH', 'DELETE'], '*', idempotency) // a repeated request is answered, not repeated

app.route('/', liveness) // answers without settings
app.route('/', health)
app.route('/', metrics)
app.route('/', documents(app))
app.route('/', accountPages) // where the links of mails lead
app.route('/.well-known', wellKnown)
app.route('/.well-known/webhooks', webhookJwks)

app.route('/api/v1/auth', userRoutes)
app.route('/api/v1/auth', sessionRoutes)
app.route('/api/v1/auth/mfa', mfaRoutes)
app.route('/api/v1/auth/passkeys', passkeyRoutes)
app.route('/api/v1/auth/api-keys', apiKeyRoutes)
app.route('/api/v1/auth/clients', clientRoutes)
app.route('/api/v1/auth/issuers', issuerRoutes)
app.route('/api/v1/auth/oauth', oauthRoutes)
app.route('/api/v1/auth/providers', providerAccountRoutes)
app.route('/api/v1/tenants', tenantRoutes)
app.route('/api/v1/tenants/portal', portalRoutes)
app.route('/api/v1/users/invitations', invitationRoutes)
app.route('/api/v1/users', memberRoutes)
app.route('/api/v1/teams', teamRoutes)
app.route('/api/v1/audit', auditRoutes)
app.route('/api/v1/partners', partnerRoutes)
app.route('/api/v1/partners/portal/usage', partnerUsageRoutes)
app.route('/api/v1/interactions', interactionRoutes)
app.route('/api/v1/conversations', conversationRoutes)
app.route('/api/v1/speakers', speakerRoutes)
app.route('/api/v1/items', itemRoutes)
app.route('/api/v1/recommendations', recommendationRoutes)
app.route('/api/v1/service', serviceRoutes)
app.route('/api/v1/agents', agents)
app.route('/api/v1/chats', chats)
app.route('/api/v1/push', pushRoutes)
app.route('/api/v1/runs', runs) // agents that answer by callback
app.route('/api/v1/shared', sharedRoutes)
app.route('/api/v1/files', signedFileRoutes)
app.route('/api/v1/files', fileRoutes)
app.route('/api/v1/webhooks/signing-keys', webhookKeyRoutes)
app.route('/api/v1/webhooks', incoming)
app.route('/api/v1/webhooks/sources', sourceRoutes)
app.route('/api/v1/webhooks/received', receivedRoutes)
app.route('/api/v1/webhooks/event-types', eventTypeRoutes)
app.route('/api/v1/webhooks', webhooks)
app.route('/api/v1/webhooks', recoveryRoutes)
app.route('/api/v1/webhooks', pollingRoutes)
app.route('/api/v1/deliveries', deliveries)
app.route('/api/v1/secrets', secretRoutes)
app.route('/api/v1/events', events)
app.route('/api/v1/events', erasureRoutes)
app.route('/api/v1/events', explainRoutes)
app.route('/api/v1/kb', knowledgeRoutes)
app.route('/api/v1/voices', voiceRoutes)
app.route('/api/v1/tools', toolRoutes)
app.route('/api/v1/calls', callRoutes)
app.route('/api/v1/calls', onCallRoutes) // what an agent’s provider asks for meanwhile
app.route('/api/v1/campaigns', campaignRoutes)
app.route('/api/v1/campaigns', contactRoutes)
app.route('/api/v1/jobs', jobRoutes)
app.route('/api/v1/workflows', workflowRoutes)
app.route('/api/v1/tickets', ticketRoutes)
app.route('/api/v1/alerts', alertRoutes)
app.route('/api/v1/realtime', realtimeTickets)
app.route('/realtime', realtimeSocket)
app.route('/api/v1/analytics', analyticsRoutes)
app.route('/api/v1/monitoring', monitoringRoutes)
app.route('/api/v1/usage', usageRoutes)
app.route('/api/v1/usage/limits', limitRoutes)
app.route('/api/v1/billing', billing)
app.route('/api/v1/billing', checkoutRoutes)
app.route('/api/v1/dev/checkouts', simulatedCheckoutRoutes) // where payments are simulated
app.route('/api/v1/dev', devMail)
app.route('/api/v1', svixRoutes) // another product's dialect
app.route('/api/v1/openai', openaiRoutes) // another's

// The tenant's own administration once more, for who names the tenant in every request.
app.route('/api/tenant', readsOf(tenantRoutes, '/current'))
app.route('/api/tenant/users/invitations', readsOf(invitationRoutes))
app.route('/api/tenant/users', readsOf(memberRoutes))
app.route('/api/tenant/teams', readsOf(teamRoutes))
app.route('/api/tenant/audit', readsOf(auditRoutes))
app.route('/api/tenant/usage', readsOf(usageRoutes))
app.route('/api/tenant/usage/limits', readsOf(limitRoutes))

app.route('/api/platform', platform)
app.route('/api/platform/deletions', deletionRoutes)
app.route('/api/platform/stats', statsRoutes)
app.route('/api/platform/webhooks', providerRoutes)
app.route('/api/platform/tenants', platformCredit)
app.route('/api/admin', platform)
app.route('/api/admin/deletions', deletionRoutes)
app.route('/api/admin/stats', statsRoutes)
app.route('/api/admin/webhooks', providerRoutes)
app.route('/api/admin/tenants', platformCredit)

answerUnknown(app)
