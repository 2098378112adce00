import type { Context } from '../../data/context'
import { objectOf } from '../../data/objects'
import type { Bindings } from '../../env'
import { isUuid } from '../../lib/ids'
import { problem } from '../../lib/problem'
import type { Scope } from '../tenancy/scopes'
import type { Listener } from './listener'

/** A message of a channel before it has its number. */
export type Said = { type: string; data: unknown }

/**
 * A kind of channel, `{name}:{id}`: one file that declares itself here. Who publishes to it calls `publish`; what is
 * published while nobody listens is not kept. What keeps a log of its own serves its channel itself.
 */
export type ChannelKind = {
  name: string
  /** What who listens must be allowed. */
  scope: Scope
  /** The same, where that depends on who listens to what. */
  scopeFor?: (ctx: Context, id: string) => Scope
} & (Published | Served)

type Published = {
  served?: undefined
  /** How what the channel is about stands, said to who comes; 404 where the tenant has no such thing. */
  greet: (ctx: Context, id: string) => Promise<Said | null>
  /** Has the publisher publish from now on, where it does not before somebody listens. */
  wake?: (env: Bindings, tenantId: string, id: string) => Promise<void>
  /** Whether somebody who listens may still, where that is not for the scope alone to say. */
  stillMay?: (ctx: Context, id: string, listener: Listener) => Promise<boolean>
}

type Served = {
  served: {
    /** The type of the frames that carry what it says. */
    type: string
    /** A socket that says `{id, type, data}` from `after` on, and takes `{type: "ack", data: {last_event_id}}`. */
    open: (ctx: Context, id: string, after: string | null) => Promise<WebSocket>
  }
}

const kinds = new Map<string, ChannelKind>()

/** Declares a kind of channel. */
export function channelKind(kind: ChannelKind): void {
  kinds.set(kind.name, kind)
}

/** The kind and id that a channel's name says; 404 for a channel that there is not. */
export function parseChannel(channel: string): { kind: ChannelKind; id: string } {
  const at = channel.indexOf(':')
  const [kind, id] = [kinds.get(channel.slice(0, at)), channel.slice(at + 1)]
  if (!kind || !isUuid(id)) throw problem.notFound('channel', channel)
  return { kind, id }
}

const PART = '/realtime/'

/** The name of a channel's object, by which the tenant's Meter knows it too. */
export const objectName = (tenantId: string, channel: string) => `${tenantId}${PART}${channel}`

/** What an object's name says; null where it is no channel's. */
export function parseObjectName(name: string): { tenant_id: string; channel: string } | null {
  const at = name.indexOf(PART)
  return at < 0 ? null : { tenant_id: name.slice(0, at), channel: name.slice(at + PART.length) }
}

export const channelOf = (env: Bindings, tenantId: string, channel: string) =>
  objectOf(env, env.REALTIME, tenantId, objectName(tenantId, channel))

/** Says something to all who listen to a channel; false where nobody does, or lately did. */
export async function publish(
  env: Bindings,
  tenantId: string,
  channel: string,
  said: readonly Said[],
): Promise<boolean> {
  const object = await channelOf(env, tenantId, channel)
  return object.publish([...said])
}
