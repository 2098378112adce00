import { beforeAll, describe, expect, it } from 'vitest'
import { call, makeWorld, type World } from '../../world'
import { meData, meIn, person, TestIssuer, trust } from './kit'

let world: World
let issuer: TestIssuer

beforeAll(async () => {
  world = await makeWorld()
  issuer = new TestIssuer()
  await trust(world, issuer)
})

describe('a token of a tenant’s own issuer', () => {
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'])
    it(`counts, signed by ${alg}`, async () => {
      const token = await issuer.token({ ...person(), alg })
      const me = await meIn(world, token)
      expect([me.status, await me.text()]).toEqual([200, expect.any(String)])
    })
})
