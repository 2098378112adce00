import type { Bindings } from '../../env'
import { deriveKey, hmacKey, keyId, type MasterKeys, masterKeys } from '../../lib/crypto'
import { keepSecret, keptSecrets } from '../identity/tokens/server-secrets'

// A seal outlives the master key it was made under: what was derived from earlier ones is kept. Who learns an earlier one
// can't make a history of his own: the first seal under the next covers all before it.

const NAME = 'audit-seal:'
const secretOf = (masterKey: string) => deriveKey(masterKey, 'audit-seal')

/** What seals now, and the name that its seals carry. */
export async function sealKey({ MASTER_KEY }: MasterKeys): Promise<{ id: string; key: CryptoKey }> {
  return { id: await keyId(MASTER_KEY), key: await hmacKey(await secretOf(MASTER_KEY)) }
}

/** All that seals were made with, by the names they carry. */
export async function sealKeys(env: Bindings, keys: MasterKeys): Promise<Map<string, CryptoKey>> {
  const found = new Map<string, CryptoKey>()
  for (const { name, raw } of await keptSecrets(env, keys, NAME))
    found.set(name.slice(NAME.length), await hmacKey(raw))
  for (const one of masterKeys(keys)) found.set(await keyId(one), await hmacKey(await secretOf(one)))
  return found
}

/** Keeps what sealed under the master keys before this one, so that those can be thrown away. */
export async function keepSealKeys(env: Bindings, keys: MasterKeys, now: number): Promise<void> {
  for (const one of keys.MASTER_KEY_PREVIOUS)
    await keepSecret(env, keys, { name: `${NAME}${await keyId(one)}`, raw: await secretOf(one) }, now)
}
