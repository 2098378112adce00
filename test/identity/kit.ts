import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { commit } from '../../src/data/commit'
import { bareTenant, contextFor } from '../../src/data/system'
import { userChange } from '../../src/domains/identity/knowledge'
import { type UserRow, users } from '../../src/domains/identity/users/table'
import type { Bindings } from '../../src/env'
import { makeWorld, requestContext, type World } from '../world'

// A hash takes a tenth of a second and holds up everything else, so the tests have theirs ready.

export const PASSWORD = 'a long and unusual phrase'
export const OTHER_PASSWORD = 'another long and unusual phrase'

/** With parameters that cost next to nothing, as old ones would; a login that succeeds makes a new one of it. */
const CHEAP: Record<string, string> = {
  [PASSWORD]: '$scrypt$ln=1,r=1,p=1$xRYF32qPVpbwazEMW0bGKg$IF74C12nt/fJj6jMU2wX5eFxUrfTFUVmFXl27jmfZN8',
  [OTHER_PASSWORD]: '$scrypt$ln=1,r=1,p=1$ASb4+BrFNwoksV6URKFMiQ$Qm/S+kMdtnStLIpn9PWFobeIAVkpydDyQtFRvxgZQ5E',
}

/** As one is made today. */
const FULL: Record<string, string> = {
  [PASSWORD]: '$scrypt$ln=14,r=8,p=5$kEkzUmNaR0OtBP/qm6WXdA$bDgYPNYB59qDWDWEswJ5UUnrwvVrocmZcyERi7wxgK4',
  [OTHER_PASSWORD]:
    '$scrypt$ln=14,r=8,p=5$MzLHwitH6ggJ4cvwoYnkAg$aO2FwrlsoVw1uH/LlnS5DmHa7b/2cDA6/tGYCNC1FvY',
}

/** An address that nobody has. */
export const someone = () => `someone-${crypto.randomUUID().slice(0, 8)}@example.com`

/** A tenant whose admin has this address and password. */
export async function tenantOf(
  email: string,
  options: { password?: string; verified?: boolean; hash?: 'cheap' | 'full' } & Parameters<
    typeof makeWorld
  >[0] = {},
): Promise<World> {
  const world = await makeWorld(options.settings ? { settings: options.settings } : {})
  await env.DB.prepare('update users set email = ?, password_hash = ?, email_verified_at = ? where id = ?')
    .bind(
      email,
      (options.hash === 'full' ? FULL : CHEAP)[options.password ?? PASSWORD],
      options.verified ? new Date().toISOString() : null,
      world.admin.user.id,
    )
    .run()
  return world
}

/** Changes a user as a route would: the row, and what every isolate is told of it, in one batch of `isolate`'s. */
export async function changeUser(
  user: UserRow,
  set: Partial<Pick<UserRow, 'role' | 'status'>>,
  isolate: Bindings = env as unknown as Bindings,
): Promise<UserRow> {
  const { tenant_id, id } = user
  const ctx = contextFor(requestContext({ env: isolate }), bareTenant(tenant_id))
  const next = { ...user, ...set, version: user.version + 1 }
  const update = ctx.db
    .update(users)
    .set({ ...set, version: next.version })
    .where(and(eq(users.tenant_id, tenant_id), eq(users.id, id)))
  await commit(ctx, { statements: [update], result: null, tell: [userChange(id, next)] })
  return next
}
