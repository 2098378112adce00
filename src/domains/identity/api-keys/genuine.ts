import { like } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { sealedIn } from '../../../data/sealed'
import type { Bindings } from '../../../env'
import { type MasterKeys, Sealer, sha256 } from '../../../lib/crypto'
import { base64url, fromBase64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { serverSecrets } from '../tokens/table'
import { isTagged, knownSecrets, partsOf, type TagSecret } from './key'

// A key outlives the master key that tagged it: what tagged keys under earlier ones is kept, sealed.

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now' | 'defer'>

const PURPOSE = 'server-secret'
const NAME = 'api-key-tag:'

sealedIn({
  purpose: PURPOSE,
  table: 'server_secrets',
  column: 'sealed',
  key: ['name'],
  bound: (name = '') => name,
})

/**
 * Whether a string is a key that this service made, by its tag alone; says nothing of whether the key still counts. A key
 * tagged under a master key that the settings don't name costs an isolate one look in five minutes, however many there are.
 */
export async function isGenuine(caller: Caller, key: string): Promise<boolean> {
  const parts = partsOf(key)
  if (!parts) return false
  if (parts.mode === 'test' && caller.settings.ENVIRONMENT === 'production') return false
  const told = await isTagged(parts, await knownSecrets(caller.settings))
  return told ?? (await isTagged(parts, await retiredSecrets(caller))) ?? false
}

/** Keeps what tagged keys under the master keys before this one, so that those can be thrown away. */
export async function keepTagSecrets(env: Bindings, keys: MasterKeys, now: number): Promise<void> {
  const sealer = new Sealer(keys, PURPOSE)
  const [, ...previous] = await knownSecrets(keys)
  for (const { version, raw } of previous) {
    const text = base64url(raw)
    const name = `${NAME}${version}:${(await sha256(text)).slice(0, 16)}`
    const row = { name, sealed: await sealer.seal(text, name), created_at: iso(now) }
    await directory(env).insert(serverSecrets).values(row).onConflictDoNothing()
  }
}

const FRESH_MS = 5 * 60_000
/** So long another request's look is waited for. */
const PATIENCE_MS = 2_000

const memories = new WeakMap<Bindings, { at: number; secrets: TagSecret[] }>()
const looks = new WeakMap<Bindings, Promise<TagSecret[]>>()

async function retiredSecrets(caller: Caller): Promise<TagSecret[]> {
  const { env, now } = caller
  const known = memories.get(env)
  if (known && now - known.at < FRESH_MS) return known.secrets
  const going = looks.get(env)
  // A promise of another request dies with that request's client.
  const theirs = going && (await Promise.race([going.catch(() => null), scheduler.wait(PATIENCE_MS)]))
  if (theirs) return theirs
  const look = read(caller)
  looks.set(env, look)
  caller.defer(look)
  try {
    const secrets = await look
    memories.set(env, { at: now, secrets })
    return secrets
  } finally {
    if (looks.get(env) === look) looks.delete(env)
  }
}

async function read({ env, settings }: Caller): Promise<TagSecret[]> {
  const rows = await directory(env)
    .select()
    .from(serverSecrets)
    .where(like(serverSecrets.name, `${NAME}%`))
  const sealer = new Sealer(settings, PURPOSE)
  const secrets = await Promise.all(
    rows.map(async ({ name, sealed }) => {
      const raw = fromBase64url(await sealer.open(sealed, name).catch(() => ''))
      return raw && raw.length > 0 ? [{ version: name.slice(NAME.length)[0] ?? '', raw }] : []
    }),
  )
  return secrets.flat()
}
