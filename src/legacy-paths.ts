import { isObject, type LegacyPath } from './http/legacy'

// The paths that the documents before /api/v1 show, answered as they show them: one table maps each to its handler. The
// answer loses its envelope and gains the documents' names; errors keep the one shape they have everywhere.

type Json = Record<string, unknown>

export const LEGACY_PATHS: LegacyPath[] = [
  // Chat Streaming API Guide: cookies carry the tokens, a team is a tenant.
  {
    from: /^\/api\/auth\/(login|refresh)$/,
    to: '/api/v1/auth/$1',
    query: { cookies: 'only' },
    show: messageOnly,
  },
  { from: /^\/api\/auth(\/.*)$/, to: '/api/v1/auth$1', show: showUser },
  { from: /^\/api\/agents(\/.*)?$/, to: '/api/v1/agents$1', body: same, show: withTeam, list: {} },
  { from: /^\/api\/chats(\/[^/]+\/.*)$/, to: '/api/v1/chats$1', show: withTeam },
  {
    from: /^\/api\/chats(\/[^/]+)?$/,
    to: '/api/v1/chats$1',
    body: takeChat,
    show: showChat,
    list: { include: 'last_exchange' },
  },

  // Multi-Tenant Backend, version 2: a network is a tenant, a client is an endpoint.
  { from: /^\/api\/v2\/auth(\/.*)$/, to: '/api/v1/auth$1' },
  {
    from: /^\/api\/v2\/service\/client\/register\/([^/]+)$/,
    method: 'POST',
    to: '/api/v1/webhooks/by-uid/$1',
    as: 'PUT',
    body: takeClient,
    show: ({ uid, tenant_id, url, secret }) => ({
      message: 'Client registered',
      client_id: uid,
      network_id: tenant_id,
      webhook_url: url,
      ...(secret ? { secret } : {}),
    }),
    fields: { url: 'webhook_url', uid: 'client_id' },
    status: 200,
  },
  {
    from: /^\/api\/v2\/service\/client\/deregister\/([^/]+)$/,
    method: 'DELETE',
    to: '/api/v1/webhooks/by-uid/$1',
    show: ({ uid, tenant_id }) => ({ message: 'Client deregistered', client_id: uid, network_id: tenant_id }),
    fields: { uid: 'client_id' },
  },
  {
    from: /^\/api\/v2\/service\/enable$/,
    method: 'PATCH',
    to: '/api/v1/service',
    body: () => ({ service_enabled: true }),
    show: showService,
  },
  {
    from: /^\/api\/v2\/service\/disable$/,
    method: 'PATCH',
    to: '/api/v1/service',
    body: () => ({ service_enabled: false }),
    show: showService,
  },
  {
    from: /^\/api\/v2\/([^/]+)\/interactions\/register$/,
    method: 'POST',
    to: '/api/v1/interactions',
    tenant: true,
    // A recording, of whatever length, was transcribed before the answer.
    query: { wait: '30' },
    body: same,
  },
]

function same(body: Json): Json {
  return body
}

function messageOnly({ message }: Json): Json {
  return { message }
}

function withTeam(resource: Json): Json {
  return 'tenant_id' in resource ? { team_id: resource.tenant_id, ...resource } : resource
}

/** The chat guide knows two roles, and whether a user is active. */
function showUser(resource: Json): Json {
  if (!('role' in resource)) return withTeam(resource)
  const role = resource.role === 'member' || resource.role === 'developer' ? 'user' : resource.role
  return { ...withTeam(resource), role, is_active: resource.status === 'active' }
}

/** The guide keeps a chat's tags in its metadata. */
function takeChat(body: Json): Json {
  if (!isObject(body.metadata) || !('tags' in body.metadata)) return body
  const { tags, ...metadata } = body.metadata
  return { ...body, metadata, tags }
}

function showChat(chat: Json): Json {
  const shown = withTeam(chat)
  if (!Array.isArray(chat.tags) || chat.tags.length === 0) return shown
  return { ...shown, metadata: { ...(isObject(chat.metadata) ? chat.metadata : {}), tags: chat.tags } }
}

function takeClient({ webhook_url, ...rest }: Json): Json {
  return { ...rest, url: webhook_url, event_types: ['interaction.created'], payload: 'data' }
}

function showService({ tenant_id, service_enabled }: Json): Json {
  return { network_id: tenant_id, service_enabled }
}
