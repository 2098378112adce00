import { describe, expect, it } from 'vitest'

// The layers of the house, checked by reading the imports. A file's place follows from its folder and name; what a name
// does not say (password.ts, fan-out.ts) follows from what the file itself imports.

declare global {
  interface ImportMeta {
    glob<T>(pattern: string, options: { query: string; import: string; eager: true }): Record<string, T>
  }
}

const sources = import.meta.glob<string>('../src/**/*.ts', { query: '?raw', import: 'default', eager: true })
const FILES = Object.fromEntries(
  Object.entries(sources)
    .map(([path, text]) => [path.replace('../src/', ''), text] as const)
    .filter(([path]) => !path.startsWith('console/')),
)

type Import = { from: string; what: string; typeOnly: boolean }

/** The imports (and re-exports) of a file; ours as paths under src, others as they are written. */
function importsOf(path: string): Import[] {
  const found: Import[] = []
  const statement = /^(?:import|export)\s+(type\s+)?([\w*\s{},$]*?)\s*from\s+'([^']+)'/gm
  for (const [, type, what = '', specifier = ''] of (FILES[path] ?? '').matchAll(statement)) {
    const names =
      /\{([^}]*)\}/
        .exec(what)?.[1]
        ?.split(',')
        .map((name) => name.trim()) ?? []
    const typeOnly =
      type !== undefined ||
      (names.length > 0 && names.filter(Boolean).every((name) => name.startsWith('type ')))
    found.push({ from: resolve(path, specifier), what, typeOnly })
  }
  return found
}

function resolve(path: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier
  const parts = path.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return `${parts.join('/')}.ts`
}

const isOurs = (from: string): boolean => from in FILES
const imports = Object.fromEntries(Object.keys(FILES).map((path) => [path, importsOf(path)]))
const ours = (path: string) => (imports[path] ?? []).filter(({ from }) => isOurs(from))
const list = (violations: string[]) => violations.sort()

const LAYERS = {
  lib: 0,
  table: 1,
  data: 2,
  schema: 3,
  service: 4,
  http: 5,
  adapter: 6,
  composition: 7,
} as const
const ROLES: Record<string, number> = {
  'table.ts': LAYERS.table,
  'schema.ts': LAYERS.schema,
  'service.ts': LAYERS.service,
  'routes.ts': LAYERS.adapter,
  'queue.ts': LAYERS.adapter,
  'object.ts': LAYERS.adapter,
  'middleware.ts': LAYERS.adapter,
}

/** Whether the types that a file imports count: at run time they are gone, in the head of a reader they are not. */
type Counting = 'values' | 'types'

const ranks = { values: new Map<string, number>(), types: new Map<string, number>() }

function rankOf(path: string, counting: Counting = 'types'): number {
  const known = ranks[counting].get(path)
  if (known !== undefined) return known
  // Against a cycle, which has a test of its own.
  ranks[counting].set(path, 0)
  const rank = computeRank(path, counting)
  ranks[counting].set(path, rank)
  return rank
}

function computeRank(path: string, counting: Counting): number {
  if (path.startsWith('lib/') || path === 'env.ts') return LAYERS.lib
  // The words that tables are written in; it imports nothing of ours.
  if (path === 'data/columns.ts') return LAYERS.lib
  if (path.startsWith('data/')) return LAYERS.data
  if (path.startsWith('http/')) return LAYERS.http
  if (!path.startsWith('domains/')) return LAYERS.composition
  const role = ROLES[path.split('/').at(-1) ?? '']
  if (role !== undefined) return role
  const below = imports[path] ?? []
  if (below.some(({ from }) => /^(hono|@hono)\b/.test(from))) return LAYERS.adapter
  const counted = below.filter(({ from, typeOnly }) => isOurs(from) && (counting === 'types' || !typeOnly))
  const highest = Math.max(0, ...counted.map(({ from }) => rankOf(from, counting)))
  // What reaches the database is a verb; what reaches the dialect translates for it.
  if (highest >= LAYERS.http) return LAYERS.adapter
  return highest >= LAYERS.data ? LAYERS.service : highest
}

describe('layers', () => {
  it('there is something to look at', () => {
    expect(Object.keys(FILES).length).toBeGreaterThan(80)
    expect(imports['app.ts']?.length).toBeGreaterThan(10)
    expect(rankOf('domains/identity/users/password.ts')).toBe(LAYERS.lib)
    expect(rankOf('domains/identity/authenticate.ts')).toBe(LAYERS.adapter)
    expect(rankOf('domains/identity/sessions/login.ts')).toBe(LAYERS.service)
  })

  it('imports run only downward', () => {
    const violations = Object.keys(FILES).flatMap((path) =>
      ours(path)
        .filter(({ from, typeOnly }) => !typeOnly && rankOf(from, 'values') > rankOf(path, 'values'))
        .map(({ from }) => `${path} (${rankOf(path, 'values')}) imports ${from} (${rankOf(from, 'values')})`),
    )
    expect(list(violations)).toEqual([])
  })

  it('so do the imports of types, but for the names of bindings', () => {
    // env.ts names the classes of the objects that wrangler.toml binds; everybody knows an object by its binding alone.
    const violations = Object.keys(FILES)
      .filter((path) => path !== 'env.ts')
      .flatMap((path) =>
        ours(path)
          .filter(({ from, typeOnly }) => typeOnly && rankOf(from) > rankOf(path))
          .map(({ from }) => `${path} (${rankOf(path)}) imports a type of ${from} (${rankOf(from)})`),
      )
    expect(list(violations)).toEqual([])
  })

  it('files do not go round in circles', () => {
    const state = new Map<string, 'open' | 'done'>()
    const circles: string[] = []
    const visit = (path: string, trail: string[]) => {
      if (state.get(path) === 'done') return
      if (state.get(path) === 'open') {
        circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '))
        return
      }
      state.set(path, 'open')
      for (const { from, typeOnly } of ours(path)) if (!typeOnly) visit(from, [...trail, path])
      state.set(path, 'done')
    }
    for (const path of Object.keys(FILES)) visit(path, [])
    expect(circles).toEqual([])
  })

  it('each layer keeps to its tools', () => {
    const uses = (path: string, library: RegExp) =>
      (imports[path] ?? []).some(({ from }) => library.test(from))
    const violations = Object.keys(FILES).flatMap((path) => {
      const rank = rankOf(path)
      const wrong: string[] = []
      // Verbs know no web, wire shapes no database.
      if (rank <= LAYERS.service && path !== 'env.ts' && uses(path, /^(hono|@hono)\b/)) wrong.push('Hono')
      if (path.endsWith('/schema.ts') && uses(path, /^drizzle-orm/)) wrong.push('Drizzle')
      // A library may be told settings by their type.
      const outside = ours(path).filter(({ from, typeOnly }) => !(typeOnly && from === 'env.ts'))
      if (path.startsWith('lib/') && outside.some(({ from }) => !from.startsWith('lib/'))) wrong.push('ours')
      // The runtime's parser of HTML reads nothing else.
      const answers = /\bnew Response\(/.test((FILES[path] ?? '').replace('.transform(new Response(', ''))
      if (rank <= LAYERS.service && answers) wrong.push('Response')
      return wrong.map((tool) => `${path} uses ${tool}`)
    })
    expect(list(violations)).toEqual([])
  })
})

/** The domains from below; one may import those above it in this list, and its own line where `siblings` says so. */
const TIERS: { domains: string[]; siblings: boolean }[] = [
  // Who is calling and for whom: one matter in two folders, so they share tables too. Both keep a record and send mail.
  { domains: ['identity', 'tenancy', 'audit', 'mail'], siblings: true },
  {
    domains: [
      'events',
      'metering',
      'secrets',
      'providers',
      'webhooks',
      'files',
      'jobs',
      'billing',
      'realtime',
    ],
    siblings: true,
  },
  // What agents know and may call, whoever they are: chats ask it and calls will.
  { domains: ['knowledge', 'tools'], siblings: false },
  // Products. They speak to each other through events.
  { domains: ['chat', 'catalog', 'operations', 'portal', 'svix'], siblings: false },
  // Has agents call by telephone.
  { domains: ['voice'], siblings: false },
  // What puts products together.
  { domains: ['workflows'], siblings: false },
]

/** Tables that a file outside of their domain reads, with the reason. */
const SHARED_TABLES: Record<string, string> = {
  'domains/webhooks/deliveries/fan-out.ts imports domains/events/table.ts':
    'deliveries are made from events by one INSERT … SELECT, which marks them dispatched in the same batch',
  'domains/webhooks/deliveries/ready.ts imports domains/events/table.ts':
    'what fan-out hands to endpoints is read in its own batch',
  'domains/webhooks/deliveries/due.ts imports domains/events/table.ts':
    'an attempt reads its delivery and the event it carries in one query',
  'domains/webhooks/deliveries/sweep.ts imports domains/events/table.ts':
    'the event’s row is its own outbox entry: the sweep looks for those not dispatched',
  'domains/webhooks/deliveries/erasing.ts imports domains/audit/table.ts':
    'the audit log alone still knows the endpoints that were deleted long ago, whose objects go with the tenant',
  'domains/webhooks/incoming/find.ts imports domains/tenancy/tenants/table.ts':
    'a source and its tenant are read together, before anybody has said whose it is',
  'domains/chat/attachments/named.ts imports domains/files/table.ts':
    'the files of a chat are read together with what they are',
  'domains/chat/attachments/service.ts imports domains/files/table.ts':
    'a file and what attaches it to a chat are made, and go, in one batch',
  'domains/chat/runs/proof.ts imports domains/tenancy/tenants/table.ts':
    'a run’s token says the tenant, and its row how that stands',
  'domains/chat/shares/link.ts imports domains/tenancy/tenants/table.ts':
    'a link, its chat and its tenant are read together, before anybody has said whose it is',
  'domains/files/signed.ts imports domains/tenancy/tenants/table.ts':
    'a signed URL’s file and its tenant are read together',
  'domains/webhooks/polling/service.ts imports domains/events/table.ts':
    'events are read by their number, and only those that the endpoint takes with their payload',
  'domains/webhooks/recovery/window.ts imports domains/events/table.ts':
    'events and how their deliveries stand are read together',
  'domains/webhooks/erasures/job.ts imports domains/events/table.ts':
    'events are erased together with what became of their deliveries, in one batch',
  'domains/workflows/awaited.ts imports domains/events/table.ts':
    'the events that wait to start runs are read together with what waits',
  'domains/webhooks/retention/service.ts imports domains/events/table.ts':
    'events and their deliveries end together, in one batch',
}

const domainOf = (path: string) => /^domains\/([^/]+)\//.exec(path)?.[1]
const tierOf = (domain: string) => TIERS.findIndex(({ domains }) => domains.includes(domain))

describe('domains', () => {
  const crossings = Object.keys(FILES).flatMap((path) => {
    const domain = domainOf(path)
    return domain === undefined
      ? []
      : ours(path).flatMap((one) => {
          const other = domainOf(one.from)
          return other === undefined || other === domain ? [] : [{ path, domain, other, ...one }]
        })
  })

  it('each has its tier', () => {
    const domains = [...new Set(Object.keys(FILES).flatMap((path) => domainOf(path) ?? []))]
    expect(domains.filter((domain) => tierOf(domain) < 0)).toEqual([])
    expect(crossings.length).toBeGreaterThan(20)
  })

  it('import only lower ones, and no sibling among the products', () => {
    const violations = crossings
      .filter(({ domain, other }) => {
        const [own, its] = [tierOf(domain), tierOf(other)]
        return its > own || (its === own && TIERS[own]?.siblings !== true)
      })
      .map(({ path, from }) => `${path} imports ${from}`)
    expect(list(violations)).toEqual([])
  })

  it('never use another’s routes, consumers or objects', () => {
    const violations = crossings
      .filter(({ from, typeOnly }) => !typeOnly && /\/(routes|queue|object)\.ts$/.test(from))
      .map(({ path, from }) => `${path} imports ${from}`)
    expect(list(violations)).toEqual([])
  })

  it('never use another’s tables, but for those listed with a reason', () => {
    const violations = crossings
      .filter(({ domain, other, from, typeOnly }) => {
        if (typeOnly || !from.endsWith('/table.ts')) return false
        const shared = new Set(['identity', 'tenancy'])
        return !(shared.has(domain) && shared.has(other))
      })
      .map(({ path, from }) => `${path} imports ${from}`)
    expect(list(violations.filter((violation) => !(violation in SHARED_TABLES)))).toEqual([])
    expect(Object.keys(SHARED_TABLES).filter((entry) => !violations.includes(entry))).toEqual([])
  })
})

/** Who may hold the whole database, and why; everybody else holds one that is confined to a tenant. */
const DIRECTORY: Record<string, string> = {
  'data/objects.ts': 'a tenant’s region is in the directory, and says where its objects are',
  'data/sealed.ts': 'seals everything anew under another master key, whoever it belongs to',
  'data/tell.ts': 'tells again what was left untold, and drops what is over, whoever it belongs to',
  'domains/billing/sweep.ts': 'looks for months, subscriptions and checkouts that are due, over all tenants',
  'domains/catalog/pipeline/cut.ts': 'makes batches of what was committed, over all tenants',
  'domains/catalog/pipeline/send.ts': 'looks for batches that are due, over all tenants',
  'domains/catalog/pipeline/settle.ts':
    'has all batches wait while the pipeline is away, whoever they belong to',
  'domains/catalog/pipeline/sweep.ts': 'how far the pipeline is behind, over all tenants',
  'domains/audit/seal.ts': 'looks for what waits to be sealed, over all tenants',
  'domains/identity/api-keys/verify.ts': 'finds a key by its hash, and with it the tenant',
  'domains/identity/invitations/accept.ts': 'finds an invitation by its token, and with it the tenant',
  'domains/identity/issuers/standing.ts':
    'reads tenant, subject and user together; the tenant is the directory’s',
  'domains/identity/oauth/link.ts': 'makes the tenant of who comes by another provider for the first time',
  'domains/identity/oauth/state.ts': 'a login that was started belongs to no tenant yet',
  'domains/identity/oauth/users.ts': 'finds a login and an address in whatever tenants they have',
  'domains/identity/attempts/passwords.ts': 'knows an address again from logins in whatever tenant',
  'domains/identity/attempts/service.ts': 'counts tries at addresses that nobody may have, so of no tenant',
  'domains/identity/mfa/challenge.ts': 'finds a challenge by its hash, and with it the tenant',
  'domains/identity/passkeys/login.ts': 'finds a passkey by its id, and with it the tenant',
  'domains/identity/recheck.ts': 'asks whether credentials of open connections still count',
  'domains/identity/sessions/login.ts': 'finds an address in whatever tenants it has',
  'domains/identity/sessions/refresh.ts': 'finds a refresh token by its hash, and with it the tenant',
  'domains/identity/sessions/retention.ts': 'ends and drops what is over, whose ever it is',
  'domains/identity/sessions/standing.ts':
    'reads session, user and tenant together; the tenant is the directory’s',
  'domains/identity/tokens/server-secrets.ts':
    'what came of earlier master keys is nobody’s but the service’s',
  'domains/identity/tokens/keys.ts': 'signing keys are nobody’s but the service’s',
  'domains/identity/tokens/rotation.ts': 'signing keys are nobody’s but the service’s',
  'domains/identity/users/imported.ts': 'asks what the dearest hash of all is, whoever has it',
  'domains/identity/users/mail-tokens.ts': 'finds a mail’s token by its hash, and with it the tenant',
  'domains/identity/users/of-address.ts': 'finds an address in whatever tenants it has',
  'domains/catalog/recommendations/sweep.ts': 'looks for interactions that are not counted, over all tenants',
  'domains/chat/agents/sync/sweep.ts': 'looks for agents whose provider was not told, over all tenants',
  'domains/chat/runs/proof.ts': 'a run’s token names the tenant, whose standing is in the directory',
  'domains/chat/shares/link.ts':
    'the token of a public link says the tenant, and the directory how that stands',
  'domains/files/signed.ts': 'a signed URL names the tenant, whose standing is in the directory',
  'domains/files/unfinished.ts': 'looks for what was never uploaded, or is to be removed, over all tenants',
  'domains/identity/users/replacement.ts': 'ends a tenant that was never verified: a row of the directory',
  'domains/identity/users/register.ts': 'makes tenants, finds them, and an address in another one',
  'domains/identity/users/verification.ts': 'finds an address in whatever tenants it has',
  'domains/jobs/overdue.ts': 'looks for jobs whose step is overdue, over all tenants',
  'domains/operations/alerts/sweep.ts': 'looks for rules that are due, over all tenants',
  'domains/mail/routes.ts': 'the development mail box is everybody’s',
  'domains/mail/service.ts': 'looks for mail that is due, over all tenants',
  'domains/metering/idempotency/service.ts': 'keys are dropped by their age, whoever they belong to',
  'domains/tenancy/deletions/schedule.ts':
    'deletions are the directory’s, since they stay when a tenant goes',
  'domains/tenancy/deletions/service.ts': 'deletions are the directory’s, since they stay when a tenant goes',
  'domains/tenancy/deletions/steps.ts': 'a tenant’s own row, which goes last, is in the directory',
  'domains/tenancy/acting/standing.ts':
    'finds what somebody may in a tenant of others, which is the directory’s',
  'domains/tenancy/partners/connections.ts': 'a partner’s own lists, over its tenants',
  'domains/tenancy/partners/portal.ts': 'a partner’s own lists, over its tenants',
  'domains/tenancy/partners/rights.ts': 'a partner’s own lists, over its tenants',
  'domains/tenancy/partners/service.ts': 'partners are nobody’s but the platform’s',
  'domains/tenancy/platform/api-keys.ts': 'the platform’s own list of keys, over all tenants',
  'domains/metering/daily/follow.ts': 'counts what was committed, over all tenants',
  'domains/metering/usage/everyone.ts': 'what all tenants asked, for the platform',
  'domains/tenancy/platform/counts.ts': 'counts over all tenants, for the platform',
  'domains/tenancy/platform/service.ts': 'the platform’s own list of tenants',
  'domains/tenancy/tenants/limits.ts': 'a tenant’s own row is in the directory',
  'domains/tenancy/tenants/plan.ts': 'a tenant’s own row is in the directory',
  'domains/tenancy/tenants/service.ts': 'a tenant’s own row is in the directory',
  'domains/voice/calls/sweep.ts': 'looks for calls that nothing drives, over all tenants',
  'domains/webhooks/deliveries/backlog.ts': 'counts what is undone, over all tenants',
  'domains/webhooks/deliveries/sweep.ts': 'looks at what is undone, over all tenants',
  'domains/webhooks/now/service.ts': 'counts what is undone of a tenant among what is undone of all',
  'domains/webhooks/incoming/find.ts': 'finds a source by the id in its URL, and with it the tenant',
  'domains/workflows/due.ts': 'looks for events that wait and schedules that are due, over all tenants',
  'domains/webhooks/incoming/references.ts':
    'finds a provider’s id, and with it the tenant that asked for it',
}

describe('the database', () => {
  it('is held whole by a short list of files', () => {
    const holders = Object.keys(FILES).filter((path) =>
      (imports[path] ?? []).some(
        ({ from, what }) => from === 'data/database.ts' && /\bdirectory\b/.test(what),
      ),
    )
    expect(list(holders)).toEqual(Object.keys(DIRECTORY).sort())
  })

  it('is bound in one place', () => {
    const touching = Object.keys(FILES).filter((path) =>
      /\benv\.DB\b|\bDB\.(prepare|batch|exec)\b/.test(FILES[path] ?? ''),
    )
    // A session is a binding of one request’s own; the health check asks D1 whether it answers, and nothing else.
    const binding = ['data/database.ts', 'data/session.ts', 'domains/operations/health/service.ts']
    expect(list(touching)).toEqual(binding)
    const opening = Object.keys(FILES).filter((path) =>
      (imports[path] ?? []).some(({ from, typeOnly }) => from === 'drizzle-orm/d1' && !typeOnly),
    )
    expect(opening).toEqual(['data/database.ts'])
  })

  it('is written to through commit alone', () => {
    const beside: Record<string, string> = {
      'domains/identity/attempts/service.ts':
        'a try is counted before it is known what comes of it, and for no tenant',
      'domains/identity/sessions/retention.ts': 'what time has ended is written down, and dropped',
      'domains/metering/idempotency/service.ts': 'a claim or a refusal has no change to be written with',
      'domains/identity/tokens/server-secrets.ts':
        'what came of earlier master keys, of no tenant and without an audit log',
      'domains/identity/tokens/rotation.ts': 'keys that are made and dropped by time, of no tenant',
    }
    // Awaiting a statement runs it by itself; a statement that is only made goes into a batch of commit.
    const runs =
      /await\s+(?:\w+\.)*(?:db|directory\([^)]*\)|database\([^)]*\))\s*\.(?:insert|update|delete|run|batch)\b/
    const writers = Object.keys(FILES).filter((path) =>
      runs.test((FILES[path] ?? '').replace(/\s*\n\s*/g, '')),
    )
    const reading = [
      'domains/catalog/recommendations/candidates.ts',
      'domains/catalog/recommendations/count.ts',
      'domains/catalog/recommendations/sweep.ts',
      'domains/catalog/recommendations/uncount.ts',
      'domains/chat/inbox/list.ts',
      'domains/chat/shares/received.ts',
      'domains/operations/alerts/evaluate.ts',
      'domains/webhooks/deliveries/due.ts',
      'domains/webhooks/deliveries/sweep.ts',
      'domains/webhooks/signing-keys/service.ts',
    ]
    expect(list(writers.filter((path) => !path.startsWith('data/') && !reading.includes(path)))).toEqual(
      Object.keys(beside).sort(),
    )
  })
})

describe('objects', () => {
  it('of tenants are reached in one place, which knows their region', () => {
    const ofTheService: Record<string, string> = {
      'data/gauges.ts': 'METRICS',
      'data/metrics.ts': 'METRICS',
      'data/outbox.ts': 'SWEEPER',
      'domains/metering/isolate.ts': 'ADDRESS_METERS',
      'domains/operations/health/service.ts': 'CHATS SWEEPER METERS',
      'domains/operations/metrics/service.ts': 'METRICS',
    }
    const reached = Object.keys(FILES)
      .filter((path) => path !== 'data/objects.ts')
      .flatMap((path) => {
        const found = [
          ...(FILES[path] ?? '').matchAll(/(\w+)\s*\.(?:getByName|idFromName|idFromString|newUniqueId)\(/g),
        ]
        return found.length === 0 ? [] : [[path, found.map(([, name]) => name).join(' ')]]
      })
    expect(Object.fromEntries(reached)).toEqual(ofTheService)
  })
})

describe('habits', () => {
  const lines = (path: string) => (FILES[path] ?? '').trimEnd().split('\n').length

  it('files stay short', () => {
    const limit = (path: string) => (path.endsWith('/routes.ts') ? 150 : 250)
    const long = Object.keys(FILES).filter((path) => lines(path) > limit(path))
    expect(list(long.map((path) => `${path}: ${lines(path)}`))).toEqual([])
  })

  for (const [name, pattern, except] of [
    ['no any', /(?::\s*|<|\bas\s+|\|\s*|=>\s*)any\b(?=\s*(?:[,>;)\]=|&{[]|$))/m, []],
    ['no switched-off checks', /@ts-(?:ignore|expect-error|nocheck)|biome-ignore|eslint-disable/, []],
    ['no console but in the log', /\bconsole\.\w+\(/, ['lib/log.ts']],
    ['no barrels', /^export \* from/m, []],
    ['no default exports but the Worker’s', /^export default/m, ['index.ts']],
    ['zod as a namespace', /import \{[^}]*\bz\b[^}]*\} from 'zod'|from 'drizzle-zod'/, []],
    ['no transactions, which D1 does not have', /\.transaction\(/, []],
  ] as [string, RegExp, string[]][])
    it(name, () => {
      const violations = Object.keys(FILES).filter(
        (path) => !except.includes(path) && pattern.test(withoutComments(FILES[path] ?? '')),
      )
      expect(list(violations)).toEqual([])
    })
})

/** Comments may say `any`; what switches a check off is a comment, and stays. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*(?!.*(?:ts-|biome-))[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`])\/\/(?!.*(?:@ts-|biome-|eslint-)).*$/gm, '$1')
}
