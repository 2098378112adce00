import type { Context } from '../../../data/context'
import { sealedIn } from '../../../data/sealed'
import { type MasterKeys, Sealer } from '../../../lib/crypto'
import { fromBase64 } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'
import { MASK } from '../endpoints/headers'
import type { SourceKind, SourceRow, StoredSecret } from './table'

const PURPOSE = 'webhook_source'
const sealer = (keys: MasterKeys) => new Sealer(keys, PURPOSE)
const bound = (tenantId = '', id = '') => `${tenantId}/${id}`

sealedIn({
  ...{ purpose: PURPOSE, table: 'webhook_sources', column: 'secrets', key: ['tenant_id', 'id'], json: true },
  bound,
})

/** Standard Webhooks: 24 to 64 bytes of a shared secret, or the 32 of a public key. */
const LENGTHS = { whsec_: [24, 64], whpk_: [32, 32] } as const

/** Why a kind's sender can't sign with a secret; null where it can. */
export function refusalOfSecret(kind: SourceKind, secret: string): string | null {
  if (kind === 'telnyx')
    return /^[A-Za-z0-9+/]{43}=$/.test(secret)
      ? null
      : 'must be the public key of your Telnyx account: 32 bytes in base64'
  if (kind !== 'standard') return null
  const [, prefix = 'whsec_', text = ''] = /^(whsec_|whpk_)?(.*)$/.exec(secret) ?? []
  const [least, most] = LENGTHS[prefix as keyof typeof LENGTHS]
  const size = /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? fromBase64(text)?.byteLength : undefined
  if (size !== undefined && size >= least && size <= most) return null
  return 'must be whsec_ and the base64 of 24 to 64 bytes, or whpk_ and that of an Ed25519 public key'
}

/**
 * Seals a source's secrets, in their order; each `********` stands for one that there was, in the order of those. 422
 * where the sender can't sign with one, where it is there twice, or where nothing stood in its place.
 */
export async function storeSecrets(
  ctx: Context,
  { id, kind }: Pick<SourceRow, 'id' | 'kind'>,
  given: readonly string[],
  before: readonly StoredSecret[] = [],
): Promise<StoredSecret[]> {
  const kept = [...before]
  const known = new Set(given)
  const masked = given.filter((secret) => secret === MASK).length
  if (known.size < given.length && masked < given.length)
    throw problem.invalid({ 'secrets.1': 'is there twice' })
  return Promise.all(
    given.map(async (secret, i) => {
      if (secret !== MASK) {
        const refusal = refusalOfSecret(kind, secret)
        if (refusal) throw problem.invalid({ [`secrets.${i}`]: refusal })
        return { sealed: await sealer(ctx.settings).seal(secret, bound(ctx.tenant.id, id)) }
      }
      const stored = kept.shift()
      if (!stored)
        throw problem.invalid({ [`secrets.${i}`]: 'must be a secret: there is none that could stay' })
      return stored
    }),
  )
}

/** A source's secrets, to check a signature by. */
export const openSecrets = (
  keys: MasterKeys,
  { tenant_id, id, secrets }: Pick<SourceRow, 'tenant_id' | 'id' | 'secrets'>,
): Promise<string[]> =>
  Promise.all(secrets.map(({ sealed }) => sealer(keys).open(sealed, bound(tenant_id, id))))
