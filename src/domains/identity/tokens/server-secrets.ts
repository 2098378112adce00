import { like } from 'drizzle-orm'
import { directory } from '../../../data/database'
import { sealedIn } from '../../../data/sealed'
import type { Bindings } from '../../../env'
import { type MasterKeys, Sealer } from '../../../lib/crypto'
import { base64url, fromBase64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { serverSecrets } from './table'

// What was derived from a master key that came before and is needed still, sealed under the one in force.

const PURPOSE = 'server-secret'

sealedIn({
  purpose: PURPOSE,
  table: 'server_secrets',
  column: 'sealed',
  key: ['name'],
  bound: (name = '') => name,
})

export type ServerSecret = { name: string; raw: Uint8Array<ArrayBuffer> }

/** Keeps a secret, so that the master key it came from can be thrown away. */
export async function keepSecret(
  env: Bindings,
  keys: MasterKeys,
  { name, raw }: ServerSecret,
  now: number,
): Promise<void> {
  const row = {
    name,
    sealed: await new Sealer(keys, PURPOSE).seal(base64url(raw), name),
    created_at: iso(now),
  }
  await directory(env).insert(serverSecrets).values(row).onConflictDoNothing()
}

/** The names of what is kept under names that begin with `prefix`. */
export async function keptNames(env: Bindings, prefix: string): Promise<string[]> {
  return (await rowsOf(env, prefix)).map(({ name }) => name)
}

/** What is kept under names that begin with `prefix`, as far as it can be opened. */
export async function keptSecrets(env: Bindings, keys: MasterKeys, prefix: string): Promise<ServerSecret[]> {
  const sealer = new Sealer(keys, PURPOSE)
  const secrets = await Promise.all(
    (await rowsOf(env, prefix)).map(async ({ name, sealed }) => {
      const raw = fromBase64url(await sealer.open(sealed, name).catch(() => ''))
      return raw && raw.length > 0 ? [{ name, raw }] : []
    }),
  )
  return secrets.flat()
}

async function rowsOf(env: Bindings, prefix: string) {
  const rows = await directory(env)
    .select()
    .from(serverSecrets)
    .where(like(serverSecrets.name, `${prefix}%`))
  // LIKE takes capitals for small letters.
  return rows.filter(({ name }) => name.startsWith(prefix))
}
