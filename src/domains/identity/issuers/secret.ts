import { sealedIn } from '../../../data/sealed'
import type { Settings } from '../../../env'
import { Sealer } from '../../../lib/crypto'
import type { IssuerRow } from './table'

type Of = Pick<IssuerRow, 'tenant_id' | 'id'>

const PURPOSE = 'issuer'
const sealer = (settings: Settings) => new Sealer(settings, PURPOSE)
const bound = (tenantId: string, id: string) => `${tenantId}/${id}/secret`

sealedIn({ purpose: PURPOSE, table: 'issuers', column: 'secret', key: ['tenant_id', 'id'], bound })

/** The secret that a tenant shares with its issuer, sealed for that issuer's row. */
export const sealSecret = (settings: Settings, { tenant_id, id }: Of, secret: string): Promise<string> =>
  sealer(settings).seal(secret, bound(tenant_id, id))

export const openSecret = (settings: Settings, { tenant_id, id }: Of, sealed: string): Promise<string> =>
  sealer(settings).open(sealed, bound(tenant_id, id))
