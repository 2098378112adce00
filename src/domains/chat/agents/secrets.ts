import type { Context } from '../../../data/context'
import { sealedIn } from '../../../data/sealed'
import { Sealer } from '../../../lib/crypto'
import type { AgentRow } from './table'

/** The columns that hold secrets, sealed for their own row and column. */
export const SECRETS = ['webhook_token', 'signing_secret', 'api_key'] as const
export type SecretName = (typeof SECRETS)[number]

const sealer = (ctx: Pick<Context, 'settings'>) => new Sealer(ctx.settings, 'agent')
const bound = (tenantId: string, agentId: string, name: SecretName) => `${tenantId}/${agentId}/${name}`

sealedIn(
  ...SECRETS.map((name) => ({
    ...{ purpose: 'agent', table: 'agents', column: name, key: ['tenant_id', 'id'] },
    bound: (tenantId = '', id = '') => bound(tenantId, id, name),
  })),
)

export function sealSecret(ctx: Context, agentId: string, name: SecretName, plain: string): Promise<string> {
  return sealer(ctx).seal(plain, bound(ctx.tenant.id, agentId, name))
}

/** The three secrets of an agent in clear, for the call to it and nothing else. */
export async function openSecrets(ctx: Context, row: AgentRow): Promise<Record<SecretName, string | null>> {
  const open = (name: SecretName) => {
    const sealed = row[name]
    return sealed === null ? null : sealer(ctx).open(sealed, bound(row.tenant_id, row.id, name))
  }
  const [webhook_token, signing_secret, api_key] = await Promise.all(SECRETS.map(open))
  return {
    webhook_token: webhook_token ?? null,
    signing_secret: signing_secret ?? null,
    api_key: api_key ?? null,
  }
}
