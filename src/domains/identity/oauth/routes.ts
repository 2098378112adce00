import { Hono, type Context as HonoContext } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { AppEnv } from '../../../http/app-env'
import { doc, open, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { fieldErrors } from '../../../lib/fields'
import { type ProblemCode, problem } from '../../../lib/problem'
import { Id, paging } from '../../../lib/wire'
import { authenticated } from '../../tenancy/authorize'
import { handOut } from '../sessions/hand-out'
import { LoggedIn } from '../sessions/schema'
import { authorize, type Callback, finishOauth } from './login'
import { pageOf, redirectTo, redirectWithError, wantsPage, withCookies } from './pages'
import { providerOf } from './provider-of'
import { Authorization, AuthorizeQuery, CallbackQuery, OauthAccount, Provider } from './schema'
import { listAccounts, unlinkAccount } from './service'
import { cookieOf, STATE_SECONDS } from './state'

const tag = 'Authentication'
/** Lax: it must come along when the provider sends the browser back, which a link from elsewhere can't make use of. */
const COOKIE = { httpOnly: true, secure: true, sameSite: 'Lax', path: '/api/v1/auth/oauth' } as const
const PROVIDER_ERRORS: ProblemCode[] = ['not_found', 'upstream_failed', 'upstream_timeout']

/** Logging in at another provider, and the logins that are linked. */
export const oauthRoutes = new Hono<AppEnv>()
  .get(
    '/accounts',
    doc('List one’s logins at other providers', { tag }),
    authenticated(),
    query(paging),
    returnsPage(OauthAccount),
    async (c) => c.var.reply(await listAccounts(c.var.ctx, c.req.valid('query'))),
  )
  .delete(
    '/accounts/:id',
    doc('Remove a linked login', { tag, errors: ['last_login_method'] }),
    authenticated(),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await unlinkAccount(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:provider/authorize',
    doc('Log in at another provider', {
      tag,
      description: 'A browser that accepts text/html is sent there; anyone else is told where that is.',
      errors: PROVIDER_ERRORS,
      also: [{ status: 302, schema: null, description: 'To the provider, or to the page with `error`.' }],
    }),
    open(),
    params({ provider: Provider }),
    query(AuthorizeQuery),
    returns(200, Authorization),
    async (c) => {
      const { settings } = c.var.request
      const { tenant, redirect_to } = c.req.valid('query')
      const page = pageOf(settings, redirect_to)
      return orPage(
        c,
        () => page,
        async () => {
          const provider = providerOf(settings, c.req.valid('param').provider)
          const login = await authorize(c.var.request, provider, { tenant, redirectTo: page })
          setCookie(c, login.cookie, login.secret, { ...COOKIE, maxAge: STATE_SECONDS })
          return wantsPage(c)
            ? redirectTo(c, login.url)
            : withCookies(c, c.var.reply({ url: login.url, expires_in: STATE_SECONDS }))
        },
      )
    },
  )
  .get(
    '/:provider/callback',
    doc('Come back from another provider', {
      tag,
      description: 'The provider sends the browser here. Other parameters than these are ignored.',
      query: CallbackQuery,
      errors: [
        ...PROVIDER_ERRORS,
        ...(['oauth_state_invalid', 'oauth_denied', 'oauth_refused', 'oauth_email_unverified'] as const),
        ...(['oauth_not_linked', 'tenant_required', 'registration_closed', 'user_limit_reached'] as const),
        ...([
          'tenant_suspended',
          'user_suspended',
          'email_not_verified',
          'mfa_required',
          'conflict',
        ] as const),
      ],
      also: [{ status: 302, schema: null, description: 'To the page, with the cookies or with `error`.' }],
    }),
    open(),
    params({ provider: Provider }),
    returns(200, LoggedIn),
    async (c) => {
      let page = pageOf(c.var.request.settings, undefined)
      return orPage(
        c,
        () => page,
        async () => {
          const provider = providerOf(c.var.request.settings, c.req.valid('param').provider)
          const callback = callbackOf(c)
          const cookie = await cookieOf(callback.state)
          const secret = getCookie(c, cookie)
          const tokens = await finishOauth(c.var.request, provider, callback, secret, (url) => {
            page = url
            deleteCookie(c, cookie, COOKIE)
          })
          return handOut(c, tokens, undefined, (value) =>
            wantsPage(c) ? redirectTo(c, page) : withCookies(c, c.var.reply(value)),
          )
        },
      )
    },
  )

/** Answers a failure as a redirect to the page where the caller is a browser. */
async function orPage(
  c: HonoContext,
  page: () => string,
  answer: () => Promise<Response>,
): Promise<Response> {
  try {
    return await answer()
  } catch (error) {
    if (!wantsPage(c)) throw error
    return redirectWithError(c, page(), error)
  }
}

/** RFC 6749, 3.1: parameters must not come twice, and those that are not known are ignored. */
function callbackOf(c: HonoContext): Callback {
  const given = c.req.queries()
  const twice = Object.keys(CallbackQuery.shape).filter((name) => (given[name]?.length ?? 0) > 1)
  if (twice.length > 0)
    throw problem.invalid(Object.fromEntries(twice.map((name) => [name, 'must come once'])))
  const parsed = CallbackQuery.safeParse(c.req.query())
  if (!parsed.success) throw problem.invalid(fieldErrors(parsed.error.issues))
  const { state, code, error, iss } = parsed.data
  if (code === undefined && error === undefined) throw problem.invalid({ code: 'is required' })
  return { state, iss, error, code: error === undefined ? code : undefined }
}
