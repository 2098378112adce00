import type { Context as HonoContext } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { decodeJwt } from 'jose'
import { DEVICE_SECONDS, deviceCookie } from '../attempts/device'
import type { Tokens } from './open'

export const DEVICE_COOKIE = 'login_device'

/** Lets the browser be known again as one in which this user has logged in; it stays when the session ends. */
export async function rememberDevice(
  c: HonoContext,
  keys: { MASTER_KEY: string },
  tokens: Tokens,
): Promise<void> {
  const { sub } = decodeJwt(tokens.access_token)
  if (sub === undefined) return
  const value = await deviceCookie(keys, getCookie(c, DEVICE_COOKIE), sub)
  setCookie(c, DEVICE_COOKIE, value, {
    ...{ httpOnly: true, secure: true, sameSite: 'Strict' },
    ...{ path: '/api', maxAge: DEVICE_SECONDS },
  })
}
