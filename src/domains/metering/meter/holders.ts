import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { parseObjectName } from '../../realtime/channels'
import type { StreamReport } from './streams'

// Who holds a tenant's open streams, by the names of their objects: chats, and channels.

/** How many one has open. */
export async function openStreamsOf(env: Bindings, tenantId: string, holder: string): Promise<StreamReport> {
  if (parseObjectName(holder)) return (await objectOf(env, env.REALTIME, tenantId, holder)).openStreams()
  return (await objectOf(env, env.CHATS, tenantId, holder)).openStreams()
}

/** Has one look at its readers' rights now. */
export async function recheckHolder(env: Bindings, tenant_id: string, holder: string): Promise<unknown> {
  if (parseObjectName(holder)) return (await objectOf(env, env.REALTIME, tenant_id, holder)).recheck()
  const room = await objectOf(env, env.CHATS, tenant_id, holder)
  return room.recheck({ tenant_id, chat_id: holder.slice(tenant_id.length + 1) })
}
