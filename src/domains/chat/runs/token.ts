import type { Settings } from '../../../env'
import { Sealer } from '../../../lib/crypto'
import { isUuid } from '../../../lib/ids'

/** The header that carries a run’s token, to the agent and back. */
export const RUN_TOKEN_HEADER = 'X-Causeway-Run-Token'

const PREFIX = 'crt_'

type Keys = Pick<Settings, 'MASTER_KEY' | 'MASTER_KEY_PREVIOUS'>
type Named = { tenant_id: string; chat_id: string; run_id: string }

const sealer = (settings: Keys) => new Sealer(settings, 'run-token')

/**
 * What lets an agent post the events of one run: it says whose chat that is, readable to nobody else, and is good for no
 * other run. It is kept nowhere, and of no use once the run has ended.
 */
export async function makeRunToken(settings: Keys, { tenant_id, chat_id, run_id }: Named): Promise<string> {
  return PREFIX + (await sealer(settings).seal(`${tenant_id}/${chat_id}`, run_id))
}

/** The chat whose run a token is for; null where it is not this run’s. */
export async function openRunToken(
  settings: Keys,
  token: string,
  runId: string,
): Promise<Omit<Named, 'run_id'> | null> {
  if (!token.startsWith(PREFIX)) return null
  const opened = await sealer(settings)
    .open(token.slice(PREFIX.length), runId)
    .catch(() => null)
  const [tenant_id = '', chat_id = ''] = opened?.split('/') ?? []
  return isUuid(tenant_id) && isUuid(chat_id) ? { tenant_id, chat_id } : null
}
