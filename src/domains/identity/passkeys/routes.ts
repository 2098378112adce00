import { Hono } from 'hono'
import type { Context, RequestContext } from '../../../data/context'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { allowedOrigin } from '../../../http/security'
import { Id, paging } from '../../../lib/wire'
import { authenticated } from '../../tenancy/authorize'
import { rememberDevice } from '../sessions/device-cookie'
import { freshSession } from '../sessions/fresh'
import { CookiesOnly, handOut } from '../sessions/hand-out'
import { LoggedIn } from '../sessions/schema'
import { type Accepts, loginOptions } from './ceremony'
import { loginByPasskey } from './login'
import { CreationOptions, EXAMPLES, Passkey, RequestOptions, VerifyLogin, VerifyRegistration } from './schema'
import { beginRegistration, listPasskeys, register, removePasskey } from './service'

const tag = 'Passkeys'
// Of logging in: who repeats it gets no tokens a second time.
const idempotency = 'ignored'
// A stored answer too is only for who logged in himself.
const again = async (ctx: Context) => {
  await freshSession(ctx)
}

/** Those that may call with credentials: the own one, and ALLOWED_ORIGINS. */
const accepts =
  ({ settings }: RequestContext): Accepts =>
  (origin) =>
    allowedOrigin(settings, origin)

/** Logging in with a device instead of a password (WebAuthn). */
export const passkeyRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List one’s passkeys', { tag, errors: ['user_required'] }),
    authenticated(),
    query(paging),
    returnsPage(Passkey),
    async (c) => c.var.reply(await listPasskeys(c.var.ctx, c.req.valid('query'))),
  )
  .delete(
    '/:id',
    doc('Remove a passkey', {
      tag,
      description: 'The last way to log in can’t be removed.',
      errors: ['user_required', 'conflict'],
    }),
    authenticated(),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await removePasskey(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/register/options',
    doc('What a browser needs to make a passkey', {
      tag,
      again,
      errors: ['user_required', 'fresh_login_required'],
    }),
    authenticated(),
    returns(200, CreationOptions),
    async (c) => c.var.reply({ ...(await beginRegistration(c.var.ctx)) }),
  )
  .post(
    '/register/verify',
    doc('Keep a passkey that a browser made', {
      tag,
      again,
      errors: ['user_required', 'fresh_login_required', 'already_exists', 'conflict'],
    }),
    authenticated(),
    body(VerifyRegistration, { example: EXAMPLES.registration }),
    returns(201, Passkey, { location: ({ id }) => `/api/v1/auth/passkeys/${id}` }),
    async (c) => c.var.reply(await register(c.var.ctx, c.req.valid('json'), accepts(c.var.request))),
  )
  .post(
    '/login/options',
    doc('What a browser needs to log in with a passkey', {
      tag,
      idempotency,
      description: 'Names no user: the device knows which passkeys it has for this service.',
    }),
    open(),
    returns(200, RequestOptions),
    async (c) => c.var.reply({ ...(await loginOptions(c.var.request)) }),
  )
  .post(
    '/login/verify',
    doc('Log in with a passkey', {
      tag,
      idempotency,
      counts: 'credential',
      description:
        'The device asks for a finger, face or PIN, so this is two factors: no code is asked for besides.',
      errors: ['invalid_passkey', 'tenant_suspended', 'user_suspended', 'email_not_verified'],
    }),
    open(),
    query(CookiesOnly),
    body(VerifyLogin, { example: EXAMPLES.login }),
    returns(200, LoggedIn),
    async (c) => {
      const { response } = c.req.valid('json')
      const tokens = await loginByPasskey(c.var.request, response, accepts(c.var.request))
      await rememberDevice(c, c.var.request.settings, tokens)
      return handOut(c, tokens, c.req.valid('query').cookies, c.var.reply)
    },
  )
