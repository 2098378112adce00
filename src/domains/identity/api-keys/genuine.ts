import type { RequestContext } from '../../../data/context'
import type { Bindings } from '../../../env'
import { type MasterKeys, sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'
import { keepSecret, keptNames, keptSecrets } from '../tokens/server-secrets'
import { isTagged, knownSecrets, partsOf, type TagSecret } from './key'

// A key outlives the master key that tagged it: what tagged keys under earlier ones is kept, sealed.

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now' | 'defer'>

const NAME = 'api-key-tag:'

/**
 * Whether a string is a key that this service made, by its tag alone; says nothing of whether the key still counts. A key
 * tagged under a master key that the settings don't name costs an isolate one look in five minutes, however many there are.
 */
export async function isGenuine(caller: Caller, key: string): Promise<boolean> {
  const parts = partsOf(key)
  if (!parts) return false
  if (parts.mode === 'test' && caller.settings.ENVIRONMENT === 'production') return false
  const told = await isTagged(parts, await knownSecrets(caller.settings))
  // A new master key may have the version of one that went: `refuseTwin` finds that out before the change is over.
  const isSaid = told === true || (told === false && caller.settings.MASTER_KEY_PREVIOUS.length === 0)
  return isSaid ? told : ((await isTagged(parts, await retiredSecrets(caller))) ?? false)
}

/**
 * 409 where keys that were tagged under an earlier master key name the version of the one in force: once that stands alone
 * in the settings, they would be taken for made up, without a look.
 */
export async function refuseTwin(env: Bindings, keys: MasterKeys): Promise<void> {
  const [inForce, ...previous] = await knownSecrets(keys)
  const version = inForce?.version ?? ''
  const own = inForce && (await nameOf(inForce))
  const kept = await keptNames(env, `${NAME}${version}:`)
  const twins = kept.filter((name) => name !== own)
  if (twins.length > 0 || previous.some((secret) => secret.version === version))
    throw problem(
      'conflict',
      'API keys made under this MASTER_KEY could not be told from earlier ones: set another one, and name this and the one before in MASTER_KEY_PREVIOUS',
    )
}

/** Keeps what tagged keys under the master keys before this one, so that those can be thrown away. */
export async function keepTagSecrets(env: Bindings, keys: MasterKeys, now: number): Promise<void> {
  const [, ...previous] = await knownSecrets(keys)
  for (const secret of previous)
    await keepSecret(env, keys, { name: await nameOf(secret), raw: secret.raw }, now)
}

const nameOf = async ({ version, raw }: TagSecret): Promise<string> =>
  `${NAME}${version}:${(await sha256(base64url(raw))).slice(0, 16)}`

const FRESH_MS = 5 * 60_000
/** While D1 does not answer it is asked so often. */
const COOLDOWN_MS = 5_000
/** So long another request's look is waited for. */
const PATIENCE_MS = 2_000

const memories = new WeakMap<Bindings, { at: number; secrets: TagSecret[] }>()
const looks = new WeakMap<Bindings, Promise<TagSecret[]>>()
const failures = new WeakMap<Bindings, { at: number; error: unknown }>()

async function retiredSecrets(caller: Caller): Promise<TagSecret[]> {
  const { env, now } = caller
  const known = memories.get(env)
  if (known && now - known.at < FRESH_MS) return known.secrets
  const going = looks.get(env)
  // A promise of another request dies with that request's client.
  const theirs = going && (await Promise.race([going.catch(() => null), scheduler.wait(PATIENCE_MS)]))
  if (theirs) return theirs
  const failure = failures.get(env)
  if (failure && now - failure.at < COOLDOWN_MS) return withoutLook(known?.secrets, failure.error)
  const look = read(caller)
  looks.set(env, look)
  caller.defer(look.catch(() => undefined))
  try {
    const secrets = await look
    memories.set(env, { at: now, secrets })
    return secrets
  } catch (error) {
    failures.set(env, { at: now, error })
    return withoutLook(known?.secrets, error)
  } finally {
    if (looks.get(env) === look) looks.delete(env)
  }
}

/** What went stays what it was, however long ago it was read. */
function withoutLook(secrets: TagSecret[] | undefined, error: unknown): TagSecret[] {
  if (secrets) return secrets
  throw error
}

async function read({ env, settings }: Caller): Promise<TagSecret[]> {
  const kept = await keptSecrets(env, settings, NAME)
  return kept.map(({ name, raw }) => ({ version: name.slice(NAME.length)[0] ?? '', raw }))
}
