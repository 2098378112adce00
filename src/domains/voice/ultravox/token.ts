import type { Settings } from '../../../env'
import { Sealer } from '../../../lib/crypto'
import { isUuid } from '../../../lib/ids'

const PREFIX = 'cct_'
/** What it is bound to: it opens as nothing else. */
const BOUND = 'call'

type Keys = Pick<Settings, 'MASTER_KEY' | 'MASTER_KEY_PREVIOUS'>
type Named = { tenant_id: string; id: string }

const sealer = (settings: Keys) => new Sealer(settings, 'call-token')

/**
 * What lets Ultravox call the tools of a call’s agent: it says which call that is, readable to nobody else. It is kept
 * nowhere, and of no use once the call has ended.
 */
export async function makeCallToken(settings: Keys, { tenant_id, id }: Named): Promise<string> {
  return PREFIX + (await sealer(settings).seal(`${tenant_id}/${id}`, BOUND))
}

/** The call that a token is for; null where it is none of ours. */
export async function openCallToken(settings: Keys, token: string): Promise<Named | null> {
  if (!token.startsWith(PREFIX)) return null
  const opened = await sealer(settings)
    .open(token.slice(PREFIX.length), BOUND)
    .catch(() => null)
  const [tenant_id = '', id = ''] = opened?.split('/') ?? []
  return isUuid(tenant_id) && isUuid(id) ? { tenant_id, id } : null
}
