import { eq } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { find, removal, revise } from '../../data/revise'
import { ECHO_MASK } from '../../lib/echo'
import { iso } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { refusalOfUrl } from '../../lib/safe-url'
import { secretDropped, secretKept } from '../secrets/kept'
import { secretsNamed, type Usable } from '../secrets/service'
import { hostNamed } from '../secrets/template'
import { baseOf, problemOf } from './choose'
import { KINDS, operatorsProvider, PROVIDER_KINDS, type ProviderKind, secretOf } from './kinds'
import type { ProviderView, UpdateProvider } from './schema'
import { type ProviderRow, providers } from './table'

/** Each kind with whose account is used for it. */
export async function listProviders(ctx: Context): Promise<ProviderView[]> {
  const [rows, secrets] = await Promise.all([
    ctx.db
      .select()
      .from(providers)
      .where(eq(providers.tenant_id, ctx.tenant.id))
      .limit(PROVIDER_KINDS.length),
    secretsNamed(ctx, PROVIDER_KINDS.map(secretOf)),
  ])
  return Promise.all(
    PROVIDER_KINDS.map(async (kind) => {
      const row = rows.find(({ id }) => id === kind)
      const secret = secrets.get(secretOf(kind))
      return row ? ownView(kind, row, secret, await secret?.open()) : operatorsView(ctx, kind)
    }),
  )
}

/**
 * Sets up, changes or removes the tenant's own account of a kind. Its key is one of the tenant's secrets, which may go to
 * its host alone: to another host it is sent again. 412, 422.
 */
export async function updateProvider(
  ctx: Context,
  kind: ProviderKind,
  input: UpdateProvider,
): Promise<ProviderView> {
  refuseUnfit(kind, input)
  const row = await find(ctx, providers, kind)
  if (input.api_key === null) return removed(ctx, kind, row, input)
  if (input.base_url) await refuseTarget(ctx, input.base_url)
  return row ? changed(ctx, kind, input) : created(ctx, kind, input)
}

function refuseUnfit(kind: ProviderKind, { provider, options = {} }: UpdateProvider): void {
  const { provider: only, options: known } = KINDS[kind]
  if (provider !== undefined && provider !== only) throw problem.invalid({ provider: `must be ${only}` })
  const unknown = Object.keys(options).filter((name) => !known.includes(name))
  const words = known.length === 0 ? `${kind} has no options` : `must be ${known.join(' or ')}`
  if (unknown.length > 0)
    throw problem.invalid(Object.fromEntries(unknown.map((name) => [`options.${name}`, words])))
}

async function refuseTarget(ctx: Context, base_url: string): Promise<void> {
  const refusal = (await refusalOfUrl(base_url, ctx.settings)) ?? (plainly(base_url) ? null : PLAIN)
  if (refusal !== null) throw problem.invalid({ base_url: refusal })
}

const PLAIN = 'must end with its path, without ? and #'
const plainly = (url: string): boolean => !/[?#]/.test(url)

async function created(ctx: Context, kind: ProviderKind, input: UpdateProvider): Promise<ProviderView> {
  if (isStale(ctx)) throw problem('precondition_failed', 'There is no account of your own to change')
  const { api_key, options = {} } = input
  if (!api_key) throw problem.invalid({ api_key: 'must be given: there is no account of your own yet' })
  const now = iso(ctx.now)
  const row: ProviderRow = {
    ...{ tenant_id: ctx.tenant.id, id: kind, provider: KINDS[kind].provider, options },
    ...{ base_url: trimmed(input.base_url) ?? null, version: 1, created_at: now, updated_at: now },
  }
  const kept = await keyKept(ctx, kind, row, api_key)
  return commit(ctx, {
    statements: [ctx.db.insert(providers).values(row), ...kept.statements],
    unique: {
      ...kept.unique,
      'providers.id': problem('conflict', 'Another request set this provider meanwhile'),
    },
    audit: { action: 'provider.update', ...resource(kind), after: { ...audited(row), key: 'set' } },
    result: ownView(kind, row, usable(kind, row), api_key),
  })
}

async function changed(ctx: Context, kind: ProviderKind, input: UpdateProvider): Promise<ProviderView> {
  const before = (await secretsNamed(ctx, [secretOf(kind)])).get(secretOf(kind))
  const known = input.api_key ?? (await before?.open())
  const view = (row: ProviderRow) => ownView(kind, row, usable(kind, row), known)
  const row = await revise(
    ctx,
    providers,
    'provider',
    kind,
    async (was) => {
      const set = {
        ...(input.options === undefined ? {} : { options: input.options }),
        ...(input.base_url === undefined ? {} : { base_url: trimmed(input.base_url) ?? null }),
      }
      const next = { ...was, ...set }
      const kept = input.api_key ? await keyKept(ctx, kind, next, input.api_key) : { statements: [] }
      const lacking = input.api_key ? null : problemOf(kind, next, before)
      if (lacking !== null) throw problem.invalid({ api_key: `must be sent again: ${lacking}` })
      return {
        ...{ set, ...kept },
        audit: {
          ...{ action: 'provider.update', ...resource(kind), before: audited(was) },
          after: { ...audited(next), ...(input.api_key ? { key: 'replaced' } : {}) },
        },
      }
    },
    view,
  )
  return view(row)
}

async function removed(
  ctx: Context,
  kind: ProviderKind,
  row: ProviderRow | null,
  { base_url, options }: UpdateProvider,
): Promise<ProviderView> {
  const left = 'must be left out where the key is removed'
  if (base_url) throw problem.invalid({ base_url: left })
  if (options) throw problem.invalid({ options: left })
  const result = operatorsView(ctx, kind)
  if (!row) {
    if (isStale(ctx)) throw problem('precondition_failed', 'There is no account of your own to remove')
    return result
  }
  return commit(ctx, {
    statements: [removal(ctx, providers, 'provider', kind), secretDropped(ctx, secretOf(kind))],
    audit: { action: 'provider.remove', ...resource(kind), before: audited(row) },
    result,
  })
}

/** Where there is none, that is its version 0. */
const isStale = ({ ifMatch = 0 }: Context): boolean => ifMatch !== 0

const resource = (kind: ProviderKind) => ({ resource: 'provider', resource_id: kind })
const trimmed = (url: string | null | undefined) => url?.replace(/\/+$/, '')
const audited = ({ provider, base_url, options }: ProviderRow) => ({ provider, base_url, options })

/** The host of an account, as secrets name those that they may go to. */
const hostOf = (kind: ProviderKind, row: ProviderRow): string => {
  const { hostname } = new URL(baseOf(kind, row))
  return hostNamed(hostname) ?? hostname
}

const keyKept = (ctx: Context, kind: ProviderKind, row: ProviderRow, value: string) =>
  secretKept(ctx, secretOf(kind), {
    ...{ value, hosts: [hostOf(kind, row)] },
    description: `The key of your own ${kind} provider; PATCH /api/v1/auth/providers/${kind} sets it.`,
  })

/** The secret as it stands once the change does. */
const usable = (kind: ProviderKind, row: ProviderRow): Usable => ({
  hosts: [hostOf(kind, row)],
  open: async () => '',
})

function ownView(
  kind: ProviderKind,
  row: ProviderRow,
  secret: Usable | undefined,
  key: string | undefined,
): ProviderView {
  const { provider, base_url, options, version, updated_at } = row
  return {
    ...{
      tenant_id: row.tenant_id,
      kind,
      source: 'tenant',
      provider,
      base_url: base_url ?? baseOf(kind, row),
      options,
    },
    ...{ api_key: key === undefined ? null : masked(key), kept_as: secret ? secretOf(kind) : null },
    ...{ problem: problemOf(kind, row, secret), version, updated_at },
  }
}

/** Of the operator's account no more than that there is one. */
function operatorsView(ctx: Context, kind: ProviderKind): ProviderView {
  const theirs = operatorsProvider(ctx.settings, kind)
  return {
    ...{
      tenant_id: ctx.tenant.id,
      kind,
      source: theirs ? 'operator' : 'none',
      provider: theirs?.name ?? null,
      api_key: null,
    },
    ...{ base_url: null, options: {}, kept_as: null, problem: null, version: 0, updated_at: null },
  }
}

/** The end of a key, by which its owner knows it; nothing of one so short that this would be much of it. */
const masked = (key: string): string => (key.length < 16 ? ECHO_MASK : `${ECHO_MASK}${key.slice(-4)}`)
