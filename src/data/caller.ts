import type { Problem } from '../lib/problem'
import type { Principal, Tenant } from './context'

/** Why a credential does not count. What is final can't be lifted, so nobody has to be asked again. */
export type Refusal = { final: boolean; problem: () => Problem }

/** A credential that was verified, as this isolate remembers it. */
export interface Caller {
  readonly tenantId: string
  /** As it is known now; another object once something has changed. */
  readonly tenant: Tenant
  readonly principal: Principal
  /** By all that this isolate has learned until now; null where the credential counts. */
  readonly refusal: Refusal | null
}
