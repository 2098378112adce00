import type { Context as HonoContext } from 'hono'
import * as z from 'zod'
import { setTokenCookies } from './cookies'
import type { Tokens } from './open'
import type { LoggedIn } from './schema'

/** The query of every route that hands out tokens. */
export const CookiesOnly = {
  cookies: z.literal('only').optional().meta({ description: 'Keep the tokens out of the body.' }),
}

/** Answers a login: both cookies, and the tokens in the body unless they were asked for in the cookies only. */
export function handOut(
  c: HonoContext,
  tokens: Tokens,
  cookies: 'only' | undefined,
  reply: (value: z.input<typeof LoggedIn>) => Response,
): Response {
  setTokenCookies(c, tokens)
  return reply(cookies === 'only' ? { message: tokens.message, expires_in: tokens.expires_in } : tokens)
}
