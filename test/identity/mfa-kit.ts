import { env } from 'cloudflare:workers'
import { createHmac } from 'node:crypto'
import { Secret, TOTP } from 'otpauth/bare'
import { expect } from 'vitest'
import { callJson } from '../world'
import { PASSWORD, someone, tenantOf } from './kit'

/** The code that an app shows, `steps` of thirty seconds from now. */
export function codeOf(secret: string, steps = 0, now = Date.now()): string {
  const hmac = (_: string, key: Uint8Array, message: Uint8Array) =>
    createHmac('sha1', key).update(message).digest()
  return new TOTP({ secret: Secret.fromBase32(secret), hmac }).generate({ timestamp: now + steps * 30_000 })
}

/** A code that is none of those around now. */
export function wrongCode(secret: string): string {
  const near = [-2, -1, 0, 1, 2].map((steps) => codeOf(secret, steps))
  for (let n = 0; ; n++) {
    const code = String(n).padStart(6, '0')
    if (!near.includes(code)) return code
  }
}

type Challenged = { challenge: string; expires_in: number; methods: string[] }

/** A user with a password, and an authenticator app if `app` is not false. */
export async function withApp(options: Parameters<typeof tenantOf>[1] = {}) {
  const email = someone()
  const world = await tenantOf(email, options)
  const { token, user } = world.admin
  const begun = await callJson<{ secret: string; uri: string; qr: string }>('POST', '/api/v1/auth/mfa/totp', {
    token,
  })
  expect(begun.status).toBe(200)
  const { secret } = begun.data
  const confirmed = await callJson<{ recovery_codes: string[] }>('POST', '/api/v1/auth/mfa/totp/confirm', {
    token,
    body: { code: codeOf(secret) },
  })
  expect(confirmed.status).toBe(200)
  const forget = () =>
    env.DB.prepare('update totp_enrolments set last_step = 0 where user_id = ?').bind(user.id).run()
  await forget()
  const login = () =>
    callJson('POST', '/api/v1/auth/login', { body: { email, password: PASSWORD, tenant: world.tenant.id } })
  return {
    ...world,
    email,
    secret,
    token,
    user_id: user.id,
    begun: begun.data,
    recovery: confirmed.data.recovery_codes,
    login,
    /** Lets the codes of the present be used again, as if the time had gone on. */
    forget,
    /** The challenge of a login with the right password. */
    challenged: async (): Promise<Challenged> => {
      const { status, error } = await login()
      expect([status, error.code]).toEqual([401, 'mfa_required'])
      return error.details as unknown as Challenged
    },
  }
}

/** Answers a challenge. */
export const answer = (body: object, query = '') =>
  callJson<{ access_token?: string; message: string; expires_in: number }>(
    'POST',
    `/api/v1/auth/mfa/challenge${query}`,
    { body },
  )

/** What the audit log of a tenant holds of these actions, oldest first. */
export async function audited(tenantId: string, ...actions: string[]) {
  const { results } = await env.DB.prepare(
    `select action, actor_id, resource_id, after from audit_log where tenant_id = ? and action in (${actions.map(() => '?').join()}) order by id`,
  )
    .bind(tenantId, ...actions)
    .all<{ action: string; actor_id: string; resource_id: string; after: string | null }>()
  return results.map((row) => ({ ...row, after: row.after === null ? null : JSON.parse(row.after) }))
}
