/** Every scope there is, with what it allows; `resource:action`. */
export const SCOPES = {
  'agents:read': 'Read agents',
  'agents:write': 'Create, change and delete agents',
  'api_keys:read': 'List API keys',
  'api_keys:write': 'Create and revoke API keys',
  'audit:read': 'Read the audit log',
  'chats:read': 'Read one’s own chats and those shared with one',
  'chats:write': 'Create chats and send messages',
  'chats:admin': 'Read and change every chat of the tenant',
  'deliveries:read': 'Read deliveries and their attempts',
  'deliveries:write': 'Retry deliveries',
  'events:read': 'Read events',
  'events:write': 'Send the tenant’s own events',
  'interactions:read': 'Read interactions',
  'interactions:write': 'Register and delete interactions',
  'issuers:admin': 'Configure whose tokens besides the service’s own count in the tenant',
  'service:read': 'See whether interactions are taken',
  'service:write': 'Switch the taking of interactions on and off',
  'teams:read': 'Read teams and who is in them',
  'teams:write': 'Make, change and delete teams, and say who is in them',
  'tenants:read': 'Read the tenant',
  'tenants:write': 'Change the tenant’s name and settings',
  'tenants:admin': 'See the tenant’s portal',
  'usage:read': 'Read what the tenant used, and its limits',
  'users:read': 'Read users',
  'users:write': 'Invite, change and remove users',
  'webhooks:read': 'Read endpoints',
  'webhooks:write': 'Create, change and delete endpoints',
  'webhooks:secret': 'Read an endpoint’s signing secret again',
  'platform:*': 'Administer the platform',
} as const

export type Scope = keyof typeof SCOPES

export const ROLES = ['viewer', 'member', 'developer', 'admin', 'platform_admin'] as const
export type Role = (typeof ROLES)[number]

const ALL = Object.keys(SCOPES) as Scope[]
const TENANT_SCOPES = ALL.filter((scope) => !scope.startsWith('platform:'))
const READ = TENANT_SCOPES.filter((scope) => scope.endsWith(':read'))
const MEMBER: Scope[] = [...READ, 'chats:write', 'interactions:write']
const DEVELOPER: Scope[] = [
  ...MEMBER,
  ...(['agents:write', 'webhooks:write', 'webhooks:secret', 'events:write', 'deliveries:write'] as const),
  ...(['api_keys:write', 'service:write'] as const),
]

const OF_ROLE: Record<Role, readonly Scope[]> = {
  viewer: READ,
  member: MEMBER,
  developer: DEVELOPER,
  admin: TENANT_SCOPES,
  platform_admin: ['platform:*'],
}

/** The scopes that a role carries; none for a role that is not known. */
export function scopesOf(role: string): readonly Scope[] {
  return Object.hasOwn(OF_ROLE, role) ? OF_ROLE[role as Role] : []
}

/** Scopes that a key without a list of its own does not get: they administer the tenant. */
const ADMINISTRATIVE = new Set<string>(
  TENANT_SCOPES.filter(
    (scope) => /:(admin|secret)$/.test(scope) || /^(tenants|users|teams|api_keys):write$/.test(scope),
  ),
)

export const isAdministrative = (scope: string): boolean => ADMINISTRATIVE.has(scope)

/** The tenant's scopes that end in one of `actions` (`read`, `write`): the shorthand of the sources' `permissions`. */
export function scopesByAction(actions: readonly string[]): Scope[] {
  return TENANT_SCOPES.filter(
    (scope) => actions.includes(scope.split(':')[1] ?? '') && !isAdministrative(scope),
  )
}
