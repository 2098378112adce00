import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, returns } from '../../../http/route'
import { authenticated } from '../../tenancy/authorize'
import { Notice } from '../sessions/schema'
import { changePassword, forgotPassword, resetPassword } from './new-password'
import { register } from './register'
import {
  ChangePassword,
  ConfirmEmail,
  Email,
  ForgotPassword,
  Me,
  Register,
  ResetPassword,
  UpdateMe,
  User,
} from './schema'
import { me, updateMe } from './service'
import { confirmEmail, resendVerification } from './verification'

const tag = 'Authentication'

/** Becoming a user, and being one. */
export const userRoutes = new Hono<AppEnv>()
  .post(
    '/register',
    doc('Register a user', {
      tag,
      description: 'Into a tenant of their own, into one that is open, or by an invitation.',
      errors: [
        ...(['registration_closed', 'user_limit_reached', 'already_exists', 'tenant_suspended'] as const),
        ...(['invitation_mismatch', 'invitation_used', 'invitation_revoked', 'invitation_expired'] as const),
        'login_busy',
      ],
    }),
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
    '/password/forgot',
    doc('Ask for a mail with which to choose a new password', {
      tag,
      description: 'The answer is the same whether the address is registered.',
    }),
    open(),
    body(ForgotPassword),
    returns(200, Notice),
    async (c) => c.var.reply(forgotPassword(c.var.request, c.req.valid('json').email)),
  )
  .post(
    '/password/reset',
    doc('Choose a new password by the token of a mail', {
      tag,
      description: 'Ends every session of the user.',
      errors: ['conflict', 'login_busy', 'tenant_suspended'],
    }),
    open(),
    body(ResetPassword),
    returns(200, Notice),
    async (c) => c.var.reply(await resetPassword(c.var.request, c.req.valid('json'))),
  )
  .post(
    '/password/change',
    doc('Change one’s own password', {
      tag,
      description: 'Ends every other session of the user. Ten wrong ones within an hour are 429.',
      errors: ['user_required', 'conflict', 'login_busy'],
    }),
    authenticated(),
    body(ChangePassword),
    returns(200, Notice),
    async (c) => c.var.reply(await changePassword(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/verify-email/confirm',
    doc('Confirm an email address', { tag, errors: ['tenant_suspended'] }),
    open(),
    body(ConfirmEmail),
    returns(200, Notice),
    async (c) => c.var.reply(await confirmEmail(c.var.request, c.req.valid('json'))),
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
    async (c) => c.var.reply(resendVerification(c.var.request, c.req.valid('json').email)),
  )
