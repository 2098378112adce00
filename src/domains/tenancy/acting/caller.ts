import type { Caller, Refusal } from '../../../data/caller'
import type { Impersonator, Principal, Tenant } from '../../../data/context'
import type { Bindings } from '../../../env'
import { refusalOfTenant } from '../../identity/callers'
import type { Knowledge } from '../../identity/knowledge'
import { partnerChanges } from '../partners/changes'
import { scopesOf } from '../scopes'

export type UserPrincipal = Extract<Principal, { kind: 'user' }>

/** What somebody is in a tenant of others, and for which partner; the platform's administrators act for none. */
export type Right = { role: string; partner_id: string | null }

/** Somebody in a tenant of others, as this isolate remembers it. */
export class ActingCaller implements Caller {
  readonly principal: Principal
  readonly impersonator: Impersonator

  constructor(
    /** The same person at home. */
    readonly by: Caller,
    private readonly self: UserPrincipal,
    private readonly knowledge: Knowledge,
    { role, partner_id }: Right,
    private readonly stamp: string,
  ) {
    this.principal = { ...self, role, scopes: new Set(scopesOf(role)) }
    this.impersonator = { kind: 'user', id: self.id, tenant_id: by.tenantId, role: self.role, partner_id }
  }

  get tenantId(): string {
    return this.knowledge.tenantId
  }

  get tenant(): Tenant {
    return this.knowledge.tenant
  }

  get refusal(): Refusal | null {
    return this.by.refusal ?? refusalOfTenant(this.tenant)
  }

  /** Whether nothing was told since that might have changed who acts here as what. */
  isFresh(env: Bindings): boolean {
    const { by, knowledge } = this
    return !knowledge.dropped && by.principal === this.self && this.stamp === stampOf(env, by, this.tenantId)
  }
}

/** What was told of partners in both tenants, to be asked for before D1 is. */
export const stampOf = (env: Bindings, by: Caller, tenantId: string): string =>
  `${partnerChanges(env, by.tenantId)} ${partnerChanges(env, tenantId)}`
