import { and, eq } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { tenantDatabase } from '../../../data/database'
import type { Bindings } from '../../../env'
import { Remembered } from '../../../lib/remembered'
import { knowledgeOf } from '../knowledge'
import type { Rule } from './rules'
import { openSecret } from './secret'
import { type IssuerRow, issuers } from './table'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

/** A change reaches every isolate within ten seconds, so none goes by what it read for longer. */
const FRESH_MS = 5_000
const MAX_MS = 9_000

const memories = new WeakMap<Bindings, Remembered<Rule[]>>()

function memoryOf(env: Bindings): Remembered<Rule[]> {
  let memory = memories.get(env)
  if (!memory) {
    memory = new Remembered(FRESH_MS, MAX_MS)
    memories.set(env, memory)
  }
  return memory
}

/** The rules of a tenant's own issuers that are active, at most ten seconds old, and none that is known to be over. */
export async function tenantRules(caller: Caller, tenantId: string): Promise<Rule[]> {
  const rules = await remembered(caller, tenantId)
  if (!rules.some((rule) => isOver(caller, tenantId, rule))) return rules
  // The news were faster than what was read before: by that, tokens would be refused that count still.
  forgetRules(caller.env, tenantId)
  return remembered(caller, tenantId)
}

const isOver = ({ env }: Caller, tenantId: string, { edition }: Rule): boolean =>
  edition !== null && knowledgeOf(env, tenantId).hasEnded('issuer', edition)

function remembered(caller: Caller, tenantId: string): Promise<Rule[]> {
  return memoryOf(caller.env).get(tenantId, caller.now, async () => {
    const rows = await tenantDatabase(caller.env, tenantId)
      .select()
      .from(issuers)
      .where(and(eq(issuers.tenant_id, tenantId), eq(issuers.is_active, true)))
    return Promise.all(rows.map((row) => ruleOf(caller, row)))
  })
}

/** This isolate changed an issuer of the tenant. */
export const forgetRules = (env: Bindings, tenantId: string): void => memoryOf(env).forget(tenantId)

/** What ends with every change of an issuer, as it is told. */
export const editionOf = ({ id, version }: Pick<IssuerRow, 'id' | 'version'>): string => `${id}@${version}`

async function ruleOf(caller: Caller, row: IssuerRow): Promise<Rule> {
  const { id, tenant_id, jwks_uri, secret, version, ...rule } = row
  return {
    ...rule,
    tenant_id,
    tenant_claim: '',
    keys:
      secret === null
        ? { jwks_uri: jwks_uri ?? '' }
        : { secret: await openSecret(caller.settings, row, secret) },
    source: id,
    edition: editionOf({ id, version }),
  }
}
