import { env } from 'cloudflare:workers'
import { makeWorld, type World } from '../world'

// A hash takes a tenth of a second and holds up everything else, so the tests have theirs ready.

export const PASSWORD = 'a long and unusual phrase'
export const OTHER_PASSWORD = 'another long and unusual phrase'

const HASHES: Record<string, string> = {
  [PASSWORD]: '$scrypt$ln=14,r=8,p=5$kEkzUmNaR0OtBP/qm6WXdA$bDgYPNYB59qDWDWEswJ5UUnrwvVrocmZcyERi7wxgK4',
  [OTHER_PASSWORD]:
    '$scrypt$ln=14,r=8,p=5$MzLHwitH6ggJ4cvwoYnkAg$aO2FwrlsoVw1uH/LlnS5DmHa7b/2cDA6/tGYCNC1FvY',
}

/** An address that nobody has. */
export const someone = () => `someone-${crypto.randomUUID().slice(0, 8)}@example.com`

/** A tenant whose admin has this address and password. */
export async function tenantOf(
  email: string,
  options: { password?: string; verified?: boolean } & Parameters<typeof makeWorld>[0] = {},
): Promise<World> {
  const world = await makeWorld(options.settings ? { settings: options.settings } : {})
  await env.DB.prepare('update users set email = ?, password_hash = ?, email_verified_at = ? where id = ?')
    .bind(
      email,
      HASHES[options.password ?? PASSWORD],
      options.verified ? new Date().toISOString() : null,
      world.admin.user.id,
    )
    .run()
  return world
}
