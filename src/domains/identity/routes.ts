import { Hono, type Context as HonoContext } from 'hono'
import { getCookie } from 'hono/cookie'
import * as z from 'zod'
import type { AppEnv } from '../../http/app-env'
import { body, doc, open, params, query, returns, returnsNothing, returnsPage } from '../../http/route'
import { problem } from '../../lib/problem'
import { Id, paging } from '../../lib/wire'
import { authenticated } from '../tenancy/authorize'
import { refuseForeignOrigin } from './authenticate'
import { clearTokenCookies, setTokenCookies } from './sessions/cookies'
import { login, type Tokens } from './sessions/login'
import { refresh } from './sessions/refresh'
import { LoggedIn, Login, Notice, Refresh, Session } from './sessions/schema'
import { endSession, listSessions, logout, logoutAll } from './sessions/service'
import { register } from './users/register'
import { Email, Me, Register, UpdateMe, User } from './users/schema'
import { me, updateMe } from './users/service'
import { confirmEmail, resendVerification } from './users/verification'

const tag = 'Authentication'
const CookiesOnly = {
  cookies: z.literal('only').optional().meta({ description: 'Keep the tokens out of the body.' }),
}

export const auth = new Hono<AppEnv>()
  .post(
    '/register',
    doc('Register a user', { tag, errors: ['registration_closed', 'user_limit_reached', 'login_busy'] }),
    open(),
    body(Register),
    returns(201, User, { location: () => '/api/v1/auth/me' }),
    async (c) => c.var.reply(await register(c.var.request, c.req.valid('json'))),
  )
  .post(
    '/login',
    doc('Log in with a password', {
      tag,
      idempotency: 'ignored',
      errors: [
        'invalid_credentials',
        'tenant_required',
        'tenant_suspended',
        'email_not_verified',
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
      return handOut(
        c,
        await login(c.var.request, { ...input, tenant }),
        c.req.valid('query').cookies,
        c.var.reply,
      )
    },
  )
  .post(
    '/refresh',
    doc('Exchange a refresh token for new tokens', {
      tag,
      idempotency: 'ignored',
      description: 'Takes the token from the body or the cookie. A token used twice ends its whole session.',
      errors: ['invalid_token', 'token_revoked', 'token_expired'],
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
  .get('/me', doc('Who am I', { tag }), authenticated(), returns(200, Me), async (c) =>
    c.var.reply(await me(c.var.ctx)),
  )
  .patch(
    '/me',
    doc('Change one’s own profile', { tag }),
    authenticated(),
    body(UpdateMe),
    returns(200, Me),
    async (c) => c.var.reply(await updateMe(c.var.ctx, c.req.valid('json'))),
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
  .post(
    '/verify-email/confirm',
    doc('Confirm an email address', { tag }),
    open(),
    body(z.strictObject({ token: z.string().min(1).max(200) })),
    returns(200, Notice),
    async (c) => c.var.reply(await confirmEmail(c.var.request, c.req.valid('json').token)),
  )
  .post(
    '/verify-email/resend',
    doc('Send the verification mail again', {
      tag,
      idempotency: 'ignored',
      description: 'The answer is the same whether the address is registered.',
    }),
    open(),
    body(z.strictObject({ email: Email })),
    returns(200, Notice),
    async (c) => c.var.reply(await resendVerification(c.var.request, c.req.valid('json').email)),
  )

function handOut(
  c: HonoContext,
  tokens: Tokens,
  cookies: 'only' | undefined,
  reply: (value: z.input<typeof LoggedIn>) => Response,
): Response {
  setTokenCookies(c, tokens)
  return reply(cookies === 'only' ? { message: tokens.message, expires_in: tokens.expires_in } : tokens)
}
