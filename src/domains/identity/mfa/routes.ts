import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, query, returns, returnsNothing } from '../../../http/route'
import { authenticated } from '../../tenancy/authorize'
import { rememberDevice } from '../sessions/device-cookie'
import { CookiesOnly, handOut } from '../sessions/hand-out'
import { LoggedIn } from '../sessions/schema'
import { answerChallenge } from './challenge'
import { AnswerChallenge, ConfirmTotp, Enrolment, RecoveryCodes, SecondFactor, TotpStatus } from './schema'
import { confirmTotp, enrolTotp, removeTotp, renewRecoveryCodes, totpStatus } from './service'

const tag = 'Two-step login'
// A code is good for one use, so nothing is ever repeated.
const idempotency = 'ignored'
const example = { code: '492039' }

/** A second factor: an authenticator app, and recovery codes for when it is lost. */
export const mfaRoutes = new Hono<AppEnv>()
  .get(
    '/totp',
    doc('How one’s second factor stands', { tag, errors: ['user_required'] }),
    authenticated(),
    returns(200, TotpStatus),
    async (c) => c.var.reply(await totpStatus(c.var.ctx)),
  )
  .post(
    '/totp',
    doc('Begin to enrol an authenticator app', {
      tag,
      idempotency,
      description:
        'It counts once a code of it is confirmed. The secret is shown in this answer and never again.',
      errors: ['user_required', 'fresh_login_required', 'already_exists'],
    }),
    authenticated(),
    returns(200, Enrolment),
    async (c) => c.var.reply(await enrolTotp(c.var.ctx)),
  )
  .post(
    '/totp/confirm',
    doc('Confirm the authenticator app by its first code', {
      tag,
      idempotency,
      description: 'Answers with ten recovery codes, and ends the user’s other sessions.',
      errors: ['user_required', 'not_found', 'already_exists'],
    }),
    authenticated(),
    body(ConfirmTotp, { example }),
    returns(200, RecoveryCodes),
    async (c) => c.var.reply(await confirmTotp(c.var.ctx, c.req.valid('json').code)),
  )
  .delete(
    '/totp',
    doc('Remove the authenticator app', {
      tag,
      idempotency,
      description: 'Takes a code or a recovery code: a stolen session is not enough.',
      errors: ['user_required', 'not_found', 'rate_limited'],
    }),
    authenticated(),
    body(SecondFactor, { example }),
    returnsNothing(),
    async (c) => c.var.reply(await removeTotp(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/recovery-codes',
    doc('Make ten new recovery codes', {
      tag,
      idempotency,
      description: 'Takes a code or a recovery code; the old recovery codes are void.',
      errors: ['user_required', 'not_found', 'rate_limited'],
    }),
    authenticated(),
    body(SecondFactor, { example }),
    returns(200, RecoveryCodes),
    async (c) => c.var.reply(await renewRecoveryCodes(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/challenge',
    doc('Finish a login by its second factor', {
      tag,
      idempotency,
      counts: 'credential',
      description:
        'The challenge comes with the 401 mfa_required of the login; it takes five tries in five minutes.',
      errors: ['invalid_token', 'invalid_code', 'tenant_suspended', 'user_suspended', 'rate_limited'],
    }),
    open(),
    query(CookiesOnly),
    body(AnswerChallenge, {
      example: { challenge: 'kX0c0V3sN1o1xkqS8d9Tn5mV5m3pV9b7W2a4r6t8u0Q', code: '492039' },
    }),
    returns(200, LoggedIn),
    async (c) => {
      const tokens = await answerChallenge(c.var.request, c.req.valid('json'))
      await rememberDevice(c, c.var.request.settings, tokens)
      return handOut(c, tokens, c.req.valid('query').cookies, c.var.reply)
    },
  )
