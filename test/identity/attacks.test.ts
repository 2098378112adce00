import { env } from 'cloudflare:workers'
import { EncryptJWT, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { verifyAccessToken } from '../../src/domains/identity/tokens/access-token'
import { keyRing } from '../../src/domains/identity/tokens/keys'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import { base64url, fromBase64url, text, utf8 } from '../../src/lib/encoding'
import { newId } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { call, makePlatformAdmin, makeWorld, requestContext, type World } from '../world'

// The attack list of identity.md, each forged as well as the attacker could: with the service's own key where that is
// what makes the case, so that the one flaw under test is the only one.

let world: World
let ring: Awaited<ReturnType<typeof keyRing>>
let publicJwk: JWK

beforeAll(async () => {
  world = await makeWorld()
  ring = await keyRing(requestContext())
  publicJwk = ring.jwks.find((jwk) => jwk.kid === ring.signing.kid) as JWK
})

const now = () => Math.floor(Date.now() / 1000)
const part = (value: unknown) => base64url(utf8(typeof value === 'string' ? value : JSON.stringify(value)))
const headerOf = (token: string) =>
  JSON.parse(text(fromBase64url(token.split('.')[0] ?? '') ?? new Uint8Array()))
const payloadOf = (token: string) =>
  JSON.parse(text(fromBase64url(token.split('.')[1] ?? '') ?? new Uint8Array()))

/** What a good token of the member says. */
const good = () => payloadOf(world.member.token) as Record<string, unknown>

/** A token with a true signature of the service over whatever it says. */
async function signed(payload: unknown, header: Record<string, unknown> = {}): Promise<string> {
  const head = part({ alg: 'ES256', typ: 'at+jwt', kid: ring.signing.kid, ...header })
  const input = `${head}.${part(payload)}`
  const signature = await crypto.subtle.sign(
    { name: 'ECDSA', hash: 'SHA-256' },
    ring.signing.key,
    utf8(input),
  )
  return `${input}.${base64url(new Uint8Array(signature))}`
}

const tryToken = (token: string) => call('GET', '/api/v1/auth/me', { token })
const refused = async (token: string, code: Parameters<typeof expectError>[1] = 'invalid_token') => {
  const answer = await tryToken(token)
  expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer error="invalid_token"/)
  await expectError(answer, code)
  // Nothing else: not by cookie either.
  const cookie = await call('GET', '/api/v1/auth/me', { headers: { Cookie: `access_token=${token}` } })
  expect(cookie.status).toBe(401)
}

describe('what makes the rest mean something', () => {
  it('a token signed here as the service signs is taken', async () => {
    expect((await tryToken(world.member.token)).status).toBe(200)
    expect((await tryToken(await signed({ ...good(), jti: newId(Date.now()) }))).status).toBe(200)
  })

  it('an access token says what it should and no more', () => {
    expect(headerOf(world.member.token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: ring.signing.kid })
    expect(good()).toEqual({
      iss: 'http://localhost:8787',
      aud: 'http://localhost:8787',
      sub: world.member.user.id,
      client_id: world.tenant.id,
      tenant_id: world.tenant.id,
      type: 'access',
      role: 'member',
      email: world.member.user.email,
      scope: scopesOf('member').join(' '),
      scopes: scopesOf('member'),
      sid: world.member.session_id,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      iat: expect.any(Number),
      exp: (good().iat as number) + 900,
    })
  })
})

describe('algorithms and keys', () => {
  it('alg none, in every spelling, with and without a signature', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null])
      for (const signature of ['', (world.member.token.split('.')[2] as string) ?? ''])
        await refused(`${part({ alg, typ: 'at+jwt', kid: ring.signing.kid })}.${part(good())}.${signature}`)
  })

  it('HS256 with the public key as the secret, in every form of it', async () => {
    const spki = new Uint8Array(
      (await crypto.subtle.exportKey(
        'spki',
        (await importJWK(publicJwk, 'ES256', { extractable: true })) as CryptoKey,
      )) as ArrayBuffer,
    )
    const pem = `-----BEGIN PUBLIC KEY-----\n${btoa(String.fromCharCode(...spki))}\n-----END PUBLIC KEY-----\n`
    const secrets = [
      utf8(JSON.stringify(publicJwk)),
      utf8(pem),
      utf8(publicJwk.x as string),
      utf8(ring.signing.kid),
      spki,
    ]
    for (const secret of secrets)
      for (const alg of ['HS256', 'HS384', 'HS512'])
        await refused(
          await new SignJWT(good())
            .setProtectedHeader({ alg, typ: 'at+jwt', kid: ring.signing.kid })
            .sign(
              secret.length < 64
                ? new Uint8Array([...secret, ...new Uint8Array(64 - secret.length)])
                : secret,
            ),
        )
  })

  it('another key, under our kid, under its own, or under none', async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    for (const kid of [ring.signing.kid, 'mine', undefined])
      await refused(
        await new SignJWT(good())
          .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', ...(kid ? { kid } : {}) })
          .sign(pair.privateKey),
      )
  })

  it('another algorithm that a key pair could have', async () => {
    for (const alg of ['RS256', 'PS256', 'ES384', 'EdDSA']) {
      const pair = await generateKeyPair(alg, { extractable: true })
      await refused(
        await new SignJWT(good())
          .setProtectedHeader({ alg, typ: 'at+jwt', kid: ring.signing.kid })
          .sign(pair.privateKey),
      )
    }
  })

  it('a wrong kid, one like a path or a query, one of another type', async () => {
    for (const kid of [
      'unknown',
      '../../../../dev/null',
      '/etc/passwd',
      'https://evil.example/jwks.json',
      "' union select public_jwk from signing_keys --",
      '',
      7,
      null,
      {},
      ['a'],
      [ring.signing.kid],
      '__proto__',
      'constructor',
    ])
      await refused(await signed(good(), { kid }))
  })

  it('a key, or its address, inside of the token', async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'embedded', alg: 'ES256', use: 'sig' }
    const fetched: string[] = []
    const original = globalThis.fetch
    globalThis.fetch = (input: RequestInfo | URL) => {
      fetched.push(String(input))
      return Promise.resolve(Response.json({ keys: [jwk] }))
    }
    try {
      for (const header of [
        { jwk, kid: 'embedded' },
        { jwk },
        { jku: 'https://evil.example/jwks.json', kid: 'embedded' },
        { x5u: 'https://evil.example/cert.pem', kid: 'embedded' },
        { x5c: ['MIIB'], kid: 'embedded' },
      ])
        for (const kid of ['embedded', ring.signing.kid])
          await refused(
            await new SignJWT(good())
              .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', ...header, kid })
              .sign(pair.privateKey),
          )
    } finally {
      globalThis.fetch = original
    }
    // What the tests before have under way may ask somebody meanwhile.
    expect(fetched.filter((url) => url.includes('evil.example'))).toEqual([])
  })

  it('an extension that must be understood', async () => {
    await refused(await signed(good(), { crit: ['exp2'], exp2: 1 }))
    await refused(await signed(good(), { crit: ['b64'], b64: false }))
  })

  it('what is packed or encrypted', async () => {
    const packed = new Response(JSON.stringify(good())).body?.pipeThrough(
      new CompressionStream('deflate-raw'),
    )
    const deflated = base64url(new Uint8Array(await new Response(packed).arrayBuffer()))
    const input = `${part({ alg: 'ES256', typ: 'at+jwt', kid: ring.signing.kid, zip: 'DEF' })}.${deflated}`
    const signature = await crypto.subtle.sign(
      { name: 'ECDSA', hash: 'SHA-256' },
      ring.signing.key,
      utf8(input),
    )
    await refused(`${input}.${base64url(new Uint8Array(signature))}`)
    const to = await importJWK({ ...publicJwk, use: 'enc' }, 'ECDH-ES')
    const header = { alg: 'ECDH-ES', enc: 'A256GCM', typ: 'at+jwt', kid: ring.signing.kid }
    await refused(await new EncryptJWT(good()).setProtectedHeader(header).encrypt(to))
  })
})

describe('the signature', () => {
  it('a payload that was swapped', async () => {
    const [head, , signature] = world.member.token.split('.')
    for (const change of [
      { role: 'admin', scopes: [...scopesOf('admin')] },
      { sub: world.admin.user.id, sid: world.admin.session_id },
      { tenant_id: newId(Date.now()) },
      { exp: now() + 10 ** 9 },
    ])
      await refused(`${head}.${part({ ...good(), ...change })}.${signature}`)
    const [, theirs] = world.admin.token.split('.')
    await refused(`${head}.${theirs}.${signature}`)
  })

  it('stripped, cut short, drawn out or altered', async () => {
    const [head, payload, signature = ''] = world.member.token.split('.')
    const flipped = (at: number) =>
      signature.slice(0, at) + (signature[at] === 'A' ? 'B' : 'A') + signature.slice(at + 1)
    for (const forged of [
      '',
      'AA',
      signature.slice(0, -2),
      `${signature}AAAA`,
      flipped(0),
      flipped(40),
      'A'.repeat(86),
    ])
      await refused(`${head}.${payload}.${forged}`)
    for (const token of [
      `${head}.${payload}`,
      `${head}`,
      `${head}..${signature}`,
      `.${payload}.${signature}`,
      '..',
      '.',
    ])
      await refused(token)
    await refused(`${world.member.token}.${signature}`)
  })

  it('the same bytes in another spelling', async () => {
    const [head, payload, signature = ''] = world.member.token.split('.')
    // 64 bytes leave four bits of the last character without a meaning.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = alphabet.indexOf(signature.at(-1) ?? '')
    for (let other = 0; other < 64; other++)
      if (other !== last) await refused(`${head}.${payload}.${signature.slice(0, -1)}${alphabet[other]}`)
    await refused(`${head}.${payload}.${signature}==`)
    await refused(`${head}=.${payload}.${signature}`)
    await refused(
      world.member.token.replaceAll('-', '+').replaceAll('_', '/').concat('+').slice(0, -1).concat('='),
    )
  })
})

describe('the time', () => {
  it('expired: is told, so that a client refreshes', async () => {
    await refused(await signed({ ...good(), exp: now() - 31 }), 'token_expired')
    await refused(await signed({ ...good(), exp: 0 }), 'token_expired')
    await refused(await signed({ ...good(), exp: -1 }), 'token_expired')
  })

  it('expired while it is remembered', async () => {
    const token = await signed({ ...good(), jti: newId(Date.now()), exp: now() - 28 })
    expect((await tryToken(token)).status).toBe(200)
    const later = requestContext({ now: Date.now() + 3000 })
    await expect(verifyAccessToken(later, token)).rejects.toMatchObject({
      code: 'token_expired',
      status: 401,
    })
  })

  it('is forgiven half a minute of a clock that goes wrong', async () => {
    expect((await tryToken(await signed({ ...good(), exp: now() - 25, jti: 'a' }))).status).toBe(200)
    expect((await tryToken(await signed({ ...good(), nbf: now() + 25, jti: 'b' }))).status).toBe(200)
  })

  it('not yet valid', async () => {
    await refused(await signed({ ...good(), nbf: now() + 60 }))
  })

  it('without exp, or with one that is no time', async () => {
    const { exp: _exp, ...without } = good()
    await refused(await signed(without))
    for (const exp of ['9999999999', null, [9999999999], {}, true])
      await refused(await signed({ ...good(), exp }))
    await refused(await signed({ ...good(), nbf: 'tomorrow' }))
  })
})

describe('the claims', () => {
  it('another issuer or audience', async () => {
    const ours = 'http://localhost:8787'
    for (const iss of ['https://evil.example', `${ours}/`, ours.toUpperCase(), '', null, [ours], undefined])
      await refused(await signed({ ...good(), iss }))
    for (const aud of [
      'https://evil.example',
      `${ours}/`,
      '',
      null,
      [],
      ['https://evil.example'],
      {},
      undefined,
    ])
      await refused(await signed({ ...good(), aud }))
  })

  it('another type of token of the same issuer: id tokens and refresh tokens', async () => {
    for (const typ of ['JWT', 'jwt', 'id+jwt', 'rt+jwt', 'at', '', undefined, null, 7])
      await refused(await signed(good(), { typ }))
    for (const type of ['refresh', 'id', 'Access', '', null, undefined, ['access']])
      await refused(await signed({ ...good(), type }))
    const { type: _type, scope: _scope, scopes: _scopes, ...idToken } = good()
    await refused(await signed({ ...idToken, nonce: 'n', aud: 'http://localhost:8787' }, { typ: 'JWT' }))
  })

  it('a refresh token as an access token, and the other way round', async () => {
    await refused(base64url(crypto.getRandomValues(new Uint8Array(32))))
    const answer = call('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: world.member.token.slice(0, 200) },
    })
    await expectError(answer, 'invalid_token')
  })

  it('without a claim that must be there', async () => {
    const names = ['sub', 'client_id', 'tenant_id', 'sid', 'jti', 'iat', 'type', 'role', 'email', 'scopes']
    for (const name of names) {
      const { [name]: _gone, ...rest } = good()
      await refused(await signed(rest))
    }
  })

  it('with a claim of another type', async () => {
    for (const name of ['sub', 'client_id', 'tenant_id', 'sid', 'jti', 'role', 'email'])
      for (const value of [7, null, true, {}, [good()[name]]])
        await refused(await signed({ ...good(), [name]: value }))
    for (const scopes of ['chats:read', [1], { 0: 'chats:read' }, null])
      await refused(await signed({ ...good(), scopes }))
  })

  it('with a claim twice, so that readers may differ on it', async () => {
    const json = JSON.stringify(good())
    for (const doubled of [
      `{"tenant_id":"${newId(Date.now())}",${json.slice(1)}`,
      `${json.slice(0, -1)},"role":"admin"}`,
      `${json.slice(0, -1)},"exp":9999999999}`,
      `${json.slice(0, -1)},"r\\u006fle":"admin"}`,
      ` ${json}`,
      json.replace('"sub"', '"\\u0073ub"'),
    ])
      await refused(await signed(doubled))
    const head = `{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${ring.signing.kid}"}`
    const input = `${part(head)}.${part(good())}`
    const signature = await crypto.subtle.sign(
      { name: 'ECDSA', hash: 'SHA-256' },
      ring.signing.key,
      utf8(input),
    )
    await refused(`${input}.${base64url(new Uint8Array(signature))}`)
  })

  it('that are no object', async () => {
    for (const payload of ['[]', '"x"', '1', 'null', 'true', '{', '', '{}'])
      await refused(await signed(payload))
  })

  const ofTenant = (id: string) => ({ tenant_id: id, client_id: id })

  it('of a session, user or tenant that there is not', async () => {
    for (const change of [
      { sid: newId(Date.now()) },
      { sub: newId(Date.now()) },
      ofTenant(newId(Date.now())),
      ofTenant("' or 1=1 --"),
      { sub: world.admin.user.id },
      { sid: world.admin.session_id },
    ])
      await refused(await signed({ ...good(), ...change }), 'token_revoked')
    const other = await makeWorld()
    await refused(await signed({ ...good(), ...ofTenant(other.tenant.id) }), 'token_revoked')
    // One of the two alone is no token of ours.
    await refused(await signed({ ...good(), tenant_id: other.tenant.id }))
  })

  it('that name a role which the user has not, or no longer', async () => {
    await refused(await signed({ ...good(), role: 'admin', scopes: [...scopesOf('admin')] }), 'token_revoked')
    await refused(
      await signed({ ...good(), role: 'platform_admin', scopes: ['platform:*'] }),
      'token_revoked',
    )
  })
})

describe('the size', () => {
  it('over 8 KiB is not looked at, under it is', async () => {
    const padded = (size: number) => signed({ ...good(), jti: newId(Date.now()), pad: 'x'.repeat(size) })
    expect((await tryToken(await padded(3000))).status).toBe(200)
    const large = await padded(6500)
    expect(large.length).toBeGreaterThan(8 * 1024)
    await refused(large)
  })
})

describe('the tenant', () => {
  it('that is suspended or cancelled gets 403, and nothing else', async () => {
    for (const [status, code] of [
      ['suspended', 'tenant_suspended'],
      ['cancelled', 'tenant_cancelled'],
    ] as const) {
      const closed = await makeWorld()
      await env.DB.prepare('update tenants set status = ? where id = ?').bind(status, closed.tenant.id).run()
      await expectError(tryToken(closed.admin.token), code)
      await expectError(call('GET', '/api/v1/auth/me', { key: closed.apiKey }), code)
      await expectError(
        call('POST', '/api/v1/interactions', { key: closed.apiKey, body: { text: 'a' } }),
        code,
      )
    }
  })

  it('whose user is suspended gets 403', async () => {
    const closed = await makeWorld()
    await env.DB.prepare("update users set status = 'suspended' where tenant_id = ?")
      .bind(closed.tenant.id)
      .run()
    await expectError(tryToken(closed.admin.token), 'user_suspended')
    await expectError(call('GET', '/api/v1/auth/me', { key: closed.apiKey }), 'user_suspended')
  })

  it('is not the platform because a row says platform_admin', async () => {
    const { user, session_id } = world.viewer
    await env.DB.prepare("update users set role = 'platform_admin' where id = ?").bind(user.id).run()
    const token = await signed({
      ...payloadOf(world.viewer.token),
      role: 'platform_admin',
      scopes: ['platform:*'],
      sid: session_id,
      jti: newId(Date.now()),
    })
    await expectError(call('GET', '/api/platform/tenants', { token }), 'platform_only')
    const { token: real } = await makePlatformAdmin()
    expect((await call('GET', '/api/platform/tenants', { token: real })).status).toBe(200)
  })
})

describe('the Authorization header', () => {
  for (const value of [
    '',
    'Bearer',
    'Bearer ',
    'bearer',
    'Basic dXNlcjpwYXNz',
    'Token abc',
    'Bearer a b',
    'Bearer a, Bearer b',
    'Bearer\tabc',
    'null',
    'Bearer null',
    'Bearer undefined',
    'Bearer sk_live_',
    'Bearer ..',
    'Bearer ....',
    `Bearer ${'x'.repeat(20_000)}`,
    'Bearer %00',
    'Digest username="x"',
  ])
    it(`with garbage is 401: ${JSON.stringify(value).slice(0, 40)}`, async () => {
      const answer = await call('GET', '/api/v1/auth/me', { headers: { Authorization: value } })
      expect(answer.status).toBe(401)
      expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer/)
      // Garbage is not passed over for a cookie that would do.
      if (value !== '') {
        const headers = { Authorization: value, Cookie: `access_token=${world.member.token}` }
        expect((await call('GET', '/api/v1/auth/me', { headers })).status).toBe(401)
      }
    })

  it('names its scheme in any case', async () => {
    for (const scheme of ['bearer', 'BEARER', 'BeArEr'])
      expect(
        (
          await call('GET', '/api/v1/auth/me', {
            headers: { Authorization: `${scheme} ${world.member.token}` },
          })
        ).status,
      ).toBe(200)
  })
})
