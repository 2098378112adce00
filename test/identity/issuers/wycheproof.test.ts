import { compactVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { chooseKey, importKeys } from '../../../src/domains/identity/issuers/key-set'
import { KEY_ALGS } from '../../../src/lib/issuer'
import ed25519 from '../../fixtures/wycheproof/ed25519.json'
import groups from '../../fixtures/wycheproof/jws.json'

// The vectors of Project Wycheproof for what other issuers may sign by, under keys as they are imported from a JWK set.

type Group = { comment: string; keys: object[]; tests: [number, string, unknown, boolean][] }
type EdGroup = { x: string; tests: [number, string, string, string, boolean][] }

/** Whether a JWS counts under a set of keys. */
async function counts(keys: Awaited<ReturnType<typeof importKeys>>, jws: unknown): Promise<boolean> {
  try {
    await compactVerify(
      jws as string,
      (header) => {
        const key = chooseKey(keys, header)
        if (!key) throw new Error('no such key')
        return key
      },
      { algorithms: [...KEY_ALGS] },
    )
    return true
  } catch {
    return false
  }
}

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))

describe('Wycheproof', () => {
  for (const [i, { comment, keys, tests }] of (groups as unknown as Group[]).entries())
    it(`JWS ${i}, ${comment}: ${tests.length} vectors`, async () => {
      const set = await importKeys({ keys })
      const found = await Promise.all(
        tests.map(async ([id, what, jws]) => [id, what, await counts(set, jws)]),
      )
      expect(found).toEqual(tests.map(([id, what, , valid]) => [id, what, valid]))
    })

  it('Ed25519', async () => {
    let seen = 0
    for (const { x, tests } of ed25519 as unknown as EdGroup[]) {
      const [imported] = await importKeys({ keys: [{ kty: 'OKP', crv: 'Ed25519', x }] })
      if (!imported) throw new Error(`the key ${x} was not imported`)
      for (const [id, what, message, signature, valid] of tests) {
        const ok = await crypto.subtle
          .verify('Ed25519', imported.key, bytes(signature), bytes(message))
          .catch(() => false)
        expect([id, what, ok]).toEqual([id, what, valid])
        seen += 1
      }
    }
    expect(seen).toBeGreaterThan(100)
  })
})
