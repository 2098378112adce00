/** Every scope there is, with what it allows; `resource:action`. */
export const SCOPES = {
  'agents:read': 'Read agents',
  'agents:write': 'Create, change and delete agents',
  'alerts:read': 'Read alerts and their rules',
  'alerts:write': 'Make, change and delete rules of alerts, and acknowledge alerts',
  'analytics:read': 'Read what the tenant had, day by day',
  'api_keys:read': 'List API keys',
  'api_keys:write': 'Create and revoke API keys',
  'audit:read': 'Read the audit log',
  'billing:read': 'Read the tenant’s credit and what moved it',
  'calls:read': 'Read calls, what was said in them, and their recordings',
  'calls:write': 'Have agents call, and end calls',
  'campaigns:read': 'Read campaigns, and whom they call',
  'campaigns:write': 'Make, change, schedule and stop campaigns, and say whom they call',
  'billing:write': 'Buy credit, and choose the tenant’s plan',
  'chats:read': 'Read one’s own chats and those shared with one',
  'chats:write': 'Create chats and send messages',
  'chats:admin': 'Read and change every chat of the tenant',
  'deliveries:read': 'Read deliveries and their attempts',
  'deliveries:write': 'Retry deliveries',
  'events:read': 'Read events',
  'events:write': 'Send the tenant’s own events',
  'files:read': 'Read one’s own files',
  'files:write': 'Upload files and delete one’s own',
  'files:admin': 'Read and delete every file of the tenant',
  'interactions:read': 'Read interactions',
  'interactions:write': 'Register and delete interactions',
  'items:read': 'Read the catalogue of items',
  'items:write': 'Create, change, import and delete items',
  'issuers:admin': 'Configure whose tokens besides the service’s own count in the tenant',
  'jobs:read': 'Read jobs: work that outlives a request',
  'jobs:write': 'Cancel and retry jobs',
  'monitoring:admin': 'See how the tenant’s own traffic, deliveries and queues fare',
  'recommendations:read': 'Have items recommended',
  'kb:read': 'Read knowledge bases, and find what they know',
  'kb:write': 'Make, change and delete knowledge bases, and take files in',
  'secrets:read': 'See which secrets there are, and where they may go',
  'secrets:write': 'Set and delete secrets',
  'secrets:use': 'Have secrets sent, by their names',
  'service:read': 'See whether interactions are taken',
  'service:write': 'Switch the taking of interactions on and off',
  'teams:read': 'Read teams and who is in them',
  'teams:write': 'Make, change and delete teams, and say who is in them',
  'tenants:read': 'Read the tenant',
  'tenants:write': 'Change the tenant’s name and settings',
  'tenants:admin': 'See the tenant’s portal',
  'tickets:read': 'Read the tickets that one opened, or works on',
  'tickets:write': 'Open tickets, comment on them, and work on those that are assigned to one',
  'tickets:admin': 'Read, assign and change every ticket of the tenant',
  'tools:read': 'Read the tools of agents',
  'tools:write': 'Make, change, delete and try the tools of agents',
  'usage:read': 'Read what the tenant used, and its limits',
  'users:read': 'Read users',
  'users:write': 'Invite, change and remove users',
  'voices:read': 'Read voices, and hear them',
  'voices:write': 'Make, change and delete voices',
  'webhooks:read': 'Read endpoints',
  'webhooks:write': 'Create, change and delete endpoints',
  'webhooks:secret': 'Read an endpoint’s signing secret again',
  'workflows:read': 'Read workflows and their runs',
  'workflows:write': 'Create, change and delete workflows',
  'workflows:use': 'Start workflows, and cancel and retry their runs',
  'platform:*': 'Administer the platform',
} as const

export type Scope = keyof typeof SCOPES

export const ROLES = ['viewer', 'member', 'developer', 'admin', 'platform_admin'] as const
export type Role = (typeof ROLES)[number]

const ALL = Object.keys(SCOPES) as Scope[]
const TENANT_SCOPES = ALL.filter((scope) => !scope.startsWith('platform:'))
const READ = TENANT_SCOPES.filter((scope) => scope.endsWith(':read'))
const MEMBER: Scope[] = [...READ, 'chats:write', 'files:write', 'interactions:write', 'tickets:write']
const DEVELOPER: Scope[] = [
  ...MEMBER,
  'alerts:write',
  ...(['agents:write', 'webhooks:write', 'webhooks:secret', 'events:write', 'deliveries:write'] as const),
  ...(['api_keys:write', 'service:write', 'items:write', 'jobs:write', 'secrets:use'] as const),
  ...(['calls:write', 'campaigns:write'] as const),
  ...(['workflows:write', 'workflows:use', 'kb:write', 'tools:write', 'voices:write'] as const),
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
    (scope) =>
      /:(admin|secret)$/.test(scope) || /^(tenants|users|teams|api_keys|secrets|billing):write$/.test(scope),
  ),
)

export const isAdministrative = (scope: string): boolean => ADMINISTRATIVE.has(scope)

/** The tenant's scopes that end in one of `actions` (`read`, `write`): the shorthand of the sources' `permissions`. */
export function scopesByAction(actions: readonly string[]): Scope[] {
  return TENANT_SCOPES.filter(
    (scope) => actions.includes(scope.split(':')[1] ?? '') && !isAdministrative(scope),
  )
}
