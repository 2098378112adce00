import { and, eq } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { ownSession } from '../sessions/service'
import { hasAnotherWayIn } from '../ways-in'
import { type OauthAccountRow, oauthAccounts } from './table'

/** The caller's logins at other providers, newest first. */
export function listAccounts(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<OauthAccountRow>> {
  const { user_id } = ownSession(ctx)
  return newest(ctx, oauthAccounts, input, { user_id })
}

/** Removes a linked login; 409 `last_login_method` where the user could not log in any more. Sessions go on. */
export function unlinkAccount(ctx: Context, id: string): Promise<undefined> {
  const { user_id, email } = ownSession(ctx)
  const mine = and(
    eq(oauthAccounts.tenant_id, ctx.tenant.id),
    eq(oauthAccounts.id, id),
    eq(oauthAccounts.user_id, user_id),
    ctx.ifMatch === undefined ? undefined : eq(oauthAccounts.version, ctx.ifMatch),
  )
  const gone =
    ctx.ifMatch === undefined
      ? problem.notFound('linked login', id)
      : problem('precondition_failed', 'The linked login has changed since it was read, or is gone')
  const last = problem('last_login_method', 'This is the only way left to log in')
  return commit(ctx, {
    statements: [
      { statement: ctx.db.delete(oauthAccounts).where(mine), otherwise: gone },
      { holds: hasAnotherWayIn(ctx, user_id), otherwise: last },
      mailStatement(ctx, email, 'oauth_unlinked', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    result: undefined,
    audit: { action: 'oauth.unlink', resource: 'user', resource_id: user_id, before: { account_id: id } },
  })
}
