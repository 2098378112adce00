import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, returns } from '../../../http/route'
import { authenticated } from '../../tenancy/authorize'
import { Notice } from '../sessions/schema'
import { register } from './register'
import { Email, Me, Register, UpdateMe, User } from './schema'
import { me, updateMe } from './service'
import { confirmEmail, resendVerification } from './verification'

const tag = 'Authentication'

/** Becoming a user, and being one. */
export const userRoutes = new Hono<AppEnv>()
  .post(
    '/register',
    doc('Register a user', { tag, errors: ['registration_closed', 'user_limit_reached', 'login_busy'] }),
    open(),
    body(Register),
    returns(201, User, { location: () => '/api/v1/auth/me' }),
    async (c) => c.var.reply(await register(c.var.request, c.req.valid('json'))),
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
      description: 'The answer is the same whether the address is registered.',
    }),
    open(),
    body(z.strictObject({ email: Email })),
    returns(200, Notice),
    async (c) => c.var.reply(await resendVerification(c.var.request, c.req.valid('json').email)),
  )
