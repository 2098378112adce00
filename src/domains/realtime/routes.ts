import { Hono, type Context as HonoContext } from 'hono'
import { getCookie } from 'hono/cookie'
import type { AppEnv } from '../../http/app-env'
import { routeOf } from '../../http/notes'
import { doc, open, returns } from '../../http/route'
import { problem } from '../../lib/problem'
import { refuseForeignOrigin } from '../identity/authenticate'
import { bearerOf } from '../identity/credentials'
import { countFrame } from '../metering/limits/frames'
import { socketMeter } from '../metering/usage/streamed'
import { authenticated } from '../tenancy/authorize'
import { tenantNamed } from '../tenancy/boundary'
import { Connection } from './connection'
import { Ticket } from './schema'
import { joinChannel } from './service'
import { sessionNow, sessionOf } from './session'
import { takeIn } from './strangers'
import { makeTicket } from './tickets'

const tag = 'realtime'

export const realtimeTickets = new Hono<AppEnv>().post(
  '/ticket',
  doc('Get a ticket for a socket', {
    tag,
    description:
      'For browsers, which can’t set a header on a WebSocket: good once, for 30 seconds, in the `auth` frame of `/realtime/ws` or as `?ticket=` of a chat’s `/ws` and `/stream`.',
    secret: true,
  }),
  authenticated(),
  returns(200, Ticket),
  async (c) => {
    const credential = carriedBy(c)
    const named = tenantHeader(c)
    const own = credential !== null && c.var.ctx.impersonator === null
    return c.var.reply(await makeTicket(c.var.ctx, own ? { credential, named } : null))
  },
)

export const realtimeSocket = new Hono<AppEnv>().get(
  '/ws',
  doc('Listen to channels over a WebSocket', {
    tag,
    counts: 'credential',
    description:
      'The first frame is `{"type":"auth","token":"Bearer …"}`, `{"type":"auth","ticket":"…"}`, or `{"type":"auth"}` where the request carried a cookie or a credential; then `subscribe`, `unsubscribe` and `ping` (docs/realtime.md).',
    returns: { status: 101, schema: null, description: 'The socket is open' },
  }),
  open(),
  (c) => {
    if (c.req.header('Upgrade')?.toLowerCase() !== 'websocket')
      throw problem('malformed_header', 'This is a WebSocket: send Upgrade: websocket', {
        details: { header: 'Upgrade' },
      })
    const carried = { credential: carriedBy(c), tenant_id: tenantHeader(c) }
    const entered = takeIn(c)
    const { 0: client, 1: socket } = new WebSocketPair()
    const request = c.get('request')
    socket.accept()
    new Connection(socket, {
      authenticate: (credentials) => sessionOf({ ...request, now: Date.now() }, credentials, carried),
      recheck: sessionNow,
      entered,
      measure: (session) =>
        socketMeter(session, { method: 'GET', endpoint: routeOf(c).pattern, status: 101 }),
      count: ({ env, tenant, principal, impersonator, defer }) =>
        countFrame(env, tenant.id, { ...principal, impersonator }, 'request', defer),
      join: joinChannel,
    })
    return new Response(null, { status: 101, webSocket: client })
  },
)

const tenantHeader = (c: HonoContext): string | null =>
  tenantNamed(c.req.raw.headers, 'X-Tenant-ID') ?? tenantNamed(c.req.raw.headers, 'X-Client-ID')

/** The credential of the request itself; a cookie counts from allowed origins only, 403 from others. */
function carriedBy(c: HonoContext): string | null {
  const headers = c.req.raw.headers
  const given = bearerOf(headers.get('Authorization')) ?? headers.get('X-API-Key')
  if (given) return given
  const cookie = getCookie(c, 'access_token')
  if (!cookie) return null
  refuseForeignOrigin(c)
  return cookie
}
