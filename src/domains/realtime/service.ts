import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import { type ProblemCode, problem } from '../../lib/problem'
import { channelOf, parseChannel } from './channels'
import { JOIN_HEADER, type Join } from './join'
import { credentialOf } from './listener'

/** A socket to a channel; `served` is the type of the frames for what speaks its own words. */
export type Joined = { socket: WebSocket; greeting: string[]; served: string | null }

/**
 * Opens the caller's socket to a channel, after what `after` names; with what is said to who comes. 404 where the tenant
 * has no such channel, 403 without the channel's scope, 429 where as many streams are open as may be.
 */
export async function joinChannel(ctx: Context, channel: string, after: string | null): Promise<Joined> {
  const { kind, id } = parseChannel(channel)
  const scope = kind.scopeFor?.(ctx, id) ?? kind.scope
  if (!ctx.principal.scopes.has(scope))
    throw problem('insufficient_scope', `This needs the scope ${scope}`, {
      details: { required: [scope], missing: scope },
    })
  if (kind.served) {
    const { type, open } = kind.served
    return { socket: await open(ctx, id, after), greeting: [], served: type }
  }
  await kind.greet(ctx, id)
  const object = await channelOf(ctx.env, ctx.tenant.id, channel)
  const join: Join = { listener: { ...credentialOf(ctx), scope }, at: ctx.now, after }
  const headers = { Upgrade: 'websocket', [JOIN_HEADER]: encodeURIComponent(JSON.stringify(join)) }
  const answer = await object.fetch('http://channel/', { headers })
  if (!answer.webSocket) {
    const { code, message } = await answer.json<{ code: ProblemCode; message: string }>()
    throw problem(code, message)
  }
  await kind.wake?.(ctx.env, ctx.tenant.id, id)
  // Read now: whatever came since is said by the channel.
  const said = await kind.greet(ctx, id)
  const greeting = said ? [JSON.stringify({ ...said, channel, timestamp: iso(Date.now()) })] : []
  return { socket: answer.webSocket, greeting, served: null }
}
