import { Hono } from 'hono'
import { getCookie } from 'hono/cookie'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { problem } from '../../../lib/problem'
import { Id, paging } from '../../../lib/wire'
import { authenticated } from '../../tenancy/authorize'
import { refuseForeignOrigin } from '../authenticate'
import { clearTokenCookies } from './cookies'
import { DEVICE_COOKIE, rememberDevice } from './device-cookie'
import { CookiesOnly, handOut } from './hand-out'
import { login } from './login'
import { refresh } from './refresh'
import { LoggedIn, Login, Refresh, Session } from './schema'
import { endSession, listSessions, logout, logoutAll } from './service'

const tag = 'Authentication'

/** Logging in, staying so, and leaving. */
export const sessionRoutes = new Hono<AppEnv>()
  .post(
    '/login',
    doc('Log in with a password', {
      tag,
      description:
        'Ten wrong passwords within an hour are 429; a browser or address that has logged in before has ten of its own.',
      idempotency: 'ignored',
      errors: [
        'invalid_credentials',
        'tenant_required',
        'tenant_mismatch',
        'tenant_suspended',
        'email_not_verified',
        'mfa_required',
        'login_busy',
      ],
    }),
    open(),
    query(CookiesOnly),
    body(Login),
    returns(200, LoggedIn),
    async (c) => {
      const input = c.req.valid('json')
      const tenant = input.tenant ?? c.req.header('X-Tenant-ID') ?? c.req.header('X-Client-ID')
      const device = getCookie(c, DEVICE_COOKIE)
      const tokens = await login(c.var.request, { ...input, tenant, device })
      await rememberDevice(c, c.var.request.settings, tokens)
      return handOut(c, tokens, c.req.valid('query').cookies, c.var.reply)
    },
  )
  .post(
    '/refresh',
    doc('Exchange a refresh token for new tokens', {
      tag,
      idempotency: 'ignored',
      counts: 'credential',
      description: 'Takes the token from the body or the cookie. A token used twice ends its whole session.',
      errors: [
        ...(['invalid_token', 'token_revoked', 'token_expired'] as const),
        ...(['tenant_suspended', 'user_suspended', 'email_not_verified'] as const),
      ],
    }),
    open(),
    query(CookiesOnly),
    // A refresh by cookie needs no body.
    body(Refresh, { optional: true }),
    returns(200, LoggedIn),
    async (c) => {
      const given = c.req.valid('json').refresh_token
      const cookie = given === undefined ? getCookie(c, 'refresh_token') : undefined
      if (cookie !== undefined) refuseForeignOrigin(c)
      const token = given ?? cookie
      if (!token) throw problem.invalid({ refresh_token: 'is required, here or as the cookie of that name' })
      return handOut(c, await refresh(c.var.request, token), c.req.valid('query').cookies, c.var.reply)
    },
  )
  .post('/logout', doc('End this session', { tag }), authenticated(), returnsNothing(), async (c) => {
    await logout(c.var.ctx)
    clearTokenCookies(c)
    return c.var.reply(undefined)
  })
  .post(
    '/logout-all',
    doc('End every session of the user', { tag }),
    authenticated(),
    returnsNothing(),
    async (c) => {
      await logoutAll(c.var.ctx)
      clearTokenCookies(c)
      return c.var.reply(undefined)
    },
  )
  .get(
    '/sessions',
    doc('List where one is logged in', { tag }),
    authenticated(),
    query(paging),
    returnsPage(Session),
    async (c) => c.var.reply(await listSessions(c.var.ctx, c.req.valid('query'))),
  )
  .delete(
    '/sessions/:id',
    doc('End a session', { tag }),
    authenticated(),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await endSession(c.var.ctx, c.req.valid('param').id)),
  )
