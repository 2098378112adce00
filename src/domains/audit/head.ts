import * as z from 'zod'
import { inKvOfTenant } from '../../data/erasure'
import type { Bindings } from '../../env'
import type { SealRow } from './table'

// Whoever cuts the end off the log, rows and seals, leaves a log that is whole. So the last seal is also kept elsewhere:
// in KV, and on the service's own log.

const Head = z.object({
  tenant_id: z.string(),
  number: z.number(),
  last_seq: z.number(),
  seal: z.string(),
  sealed_at: z.string(),
})
export type Head = z.output<typeof Head>

/** Under which name KV has the head of a tenant's seals. */
export const headName = (tenantId: string): string => `audit-head:${tenantId}`

inKvOfTenant('audit_heads', headName)

/** What is kept of the last seal. */
export const headOf = ({ tenant_id, number, last_seq, seal, created_at }: SealRow): Head => ({
  ...{ tenant_id, number, last_seq, seal },
  sealed_at: created_at,
})

/** The last seal as KV has it; null where it has none of this tenant, or nothing that can be read. */
export async function readHead(env: Bindings, tenantId: string): Promise<Head | null> {
  const head = Head.safeParse(parsed(await env.KV.get(headName(tenantId))))
  return head.success && head.data.tenant_id === tenantId ? head.data : null
}

function parsed(text: string | null): unknown {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return null
  }
}

/** Keeps a seal as the head. */
export function keepHead(env: Bindings, seal: SealRow): Promise<void> {
  return env.KV.put(headName(seal.tenant_id), JSON.stringify(headOf(seal)))
}
