import type { Context as HonoContext } from 'hono'
import { deleteCookie, setCookie } from 'hono/cookie'
import { ACCESS_TOKEN_SECONDS } from '../tokens/lifetimes'
import type { Tokens } from './open'
import { REFRESH_TOKEN_SECONDS } from './refresh-token'

const COMMON = { httpOnly: true, secure: true, sameSite: 'Strict' } as const

/** Both tokens as cookies; the refresh token goes to the API only, where the auth routes read it. */
export function setTokenCookies(c: HonoContext, tokens: Tokens): void {
  setCookie(c, 'access_token', tokens.access_token, { ...COMMON, path: '/', maxAge: ACCESS_TOKEN_SECONDS })
  setCookie(c, 'refresh_token', tokens.refresh_token, {
    ...COMMON,
    path: '/api',
    maxAge: REFRESH_TOKEN_SECONDS,
  })
}

export function clearTokenCookies(c: HonoContext): void {
  deleteCookie(c, 'access_token', { ...COMMON, path: '/' })
  deleteCookie(c, 'refresh_token', { ...COMMON, path: '/api' })
}
