import { env } from 'cloudflare:workers'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { keyRing } from '../../../src/domains/identity/tokens/keys'
import { base64url, utf8 } from '../../../src/lib/encoding'
import { expectError } from '../../http/expect-error'
import { makeReceiver } from '../../webhooks/receiver'
import { call, makeWorld, requestContext, type World } from '../../world'
import { AUDIENCE, meIn, OwnIssuer, person, SHARED_SECRET, trust } from './kit'

// The attack list of identity.md against a token of another issuer, each signed with that issuer's own key where that is
// what makes the case, so that the one flaw under test is the only one.

let world: World
let own: OwnIssuer

beforeAll(async () => {
  world = await makeWorld({ plan: 'enterprise' })
  own = await OwnIssuer.make()
  await trust(world, own, { algs: ['RS256'] })
})

const now = () => Math.floor(Date.now() / 1000)
const part = (value: unknown) => base64url(utf8(typeof value === 'string' ? value : JSON.stringify(value)))

/** A request that is counted by nothing but its tenant's own limit. */
const ask = (token: string, headers: Record<string, string> = {}) =>
  call('GET', '/api/v1/webhooks/event-types?built_in=true', {
    token,
    headers: { 'X-Tenant-ID': world.tenant.id, ...headers },
  })

const users = () =>
  env.DB.prepare('select count(*) as n from users where tenant_id = ?')
    .bind(world.tenant.id)
    .first<number>('n')

async function refused(token: string, code: 'invalid_token' | 'token_expired' = 'invalid_token') {
  const before = await users()
  const answer = await ask(token)
  expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer error="invalid_token"/)
  await expectError(answer, code)
  // By cookie no token counts but our own.
  const cookie = { Cookie: `access_token=${token}`, 'X-Tenant-ID': world.tenant.id }
  expect((await call('GET', '/api/v1/webhooks/event-types?built_in=true', { headers: cookie })).status).toBe(
    401,
  )
  expect(await users()).toBe(before)
}

describe('what makes the rest mean something', () => {
  it('a token signed here as the issuer signs is taken', async () => {
    expect((await ask(await own.signs(own.says()))).status).toBe(200)
    expect((await ask(await own.signs(own.says(), { typ: 'at+jwt' }))).status).toBe(200)
    expect((await ask(await own.signs(own.says(), { typ: 'application/at+JWT' }))).status).toBe(200)
  })

  it('but not by cookie', async () => {
    const token = await own.signs(own.says())
    expect((await ask(token)).status).toBe(200)
    const headers = { Cookie: `access_token=${token}`, 'X-Tenant-ID': world.tenant.id }
    await expectError(call('GET', '/api/v1/auth/me', { headers }), 'invalid_token')
  })
})

describe('algorithms and keys', () => {
  it('alg none, in every spelling, with and without a signature', async () => {
    const good = await own.signs(own.says())
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null])
      for (const signature of ['', good.split('.')[2] as string])
        await refused(`${part({ alg, typ: 'JWT', kid: 'own' })}.${part(own.says())}.${signature}`)
  })

  it('HS256 with the public key as the secret, in every form of it', async () => {
    const spki = new Uint8Array((await crypto.subtle.exportKey('spki', own.pair.publicKey)) as ArrayBuffer)
    const lines = btoa(String.fromCharCode(...spki)).replace(/(.{64})/g, '$1\n')
    const pem = `-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----`
    const secrets = [
      utf8(JSON.stringify(own.publicJwk)),
      utf8(pem),
      utf8(`${pem}\n`),
      spki,
      utf8(own.publicJwk.n ?? ''),
    ]
    for (const secret of secrets)
      for (const alg of ['HS256', 'HS384', 'HS512'])
        await refused(
          await new SignJWT(own.says()).setProtectedHeader({ alg, typ: 'JWT', kid: 'own' }).sign(secret),
        )
  })

  it('a key of the other kind under an issuer with a secret', async () => {
    const shared = await OwnIssuer.make()
    await trust(world, shared, { jwks_uri: null, secret: SHARED_SECRET, algs: ['HS256'] })
    const sign = (secret: string) =>
      new SignJWT(shared.says()).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(utf8(secret))
    expect((await ask(await sign(SHARED_SECRET))).status).toBe(200)
    await refused(await sign(`${SHARED_SECRET} `))
    await refused(await shared.signs(shared.says()))
  })

  it('an algorithm that the issuer is not configured for, with a key that it publishes', async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'ec', use: 'sig' }
    const receiver = await makeReceiver({ status: 200, body: JSON.stringify({ keys: [jwk, own.publicJwk] }) })
    const iss = 'https://two-kinds.example.com'
    await trust(world, { iss, jwks_uri: receiver.url }, { algs: ['RS256'] })
    const says = { ...own.says(), iss }
    expect((await ask(await own.signs(says))).status).toBe(200)
    await refused(
      await new SignJWT(says)
        .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: 'ec' })
        .sign(pair.privateKey),
    )
    // RSA keys serve two algorithms; the one that is not named is none.
    const ps = await generateKeyPair('PS256', { extractable: true })
    await refused(
      await new SignJWT(says)
        .setProtectedHeader({ alg: 'PS256', typ: 'JWT', kid: 'own' })
        .sign(ps.privateKey),
    )
  })

  it('another key, under the issuer’s kid, under its own, or under none', async () => {
    const pair = await generateKeyPair('RS256', { extractable: true })
    for (const kid of ['own', 'mine', undefined])
      await refused(
        await new SignJWT(own.says())
          .setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...(kid ? { kid } : {}) })
          .sign(pair.privateKey),
      )
  })

  it('our own key, or another issuer’s, for this issuer; and this issuer’s for us', async () => {
    const ring = await keyRing(requestContext())
    await refused(
      await new SignJWT(own.says())
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: ring.signing.kid })
        .sign(ring.signing.key),
    )
    const other = await OwnIssuer.make()
    await trust(world, other, { algs: ['RS256'] })
    expect((await ask(await other.signs(other.says()))).status).toBe(200)
    // Both call their key "own".
    await refused(await other.signs(own.says()))
    const { user, session_id } = world.member
    const ours = {
      ...own.says(),
      ...{ iss: 'http://localhost:8787', aud: 'http://localhost:8787', sub: user.id, sid: session_id },
      ...{ tenant_id: world.tenant.id, type: 'access', role: 'member', email: user.email, scopes: [] },
    }
    await refused(await own.signs(ours, { typ: 'at+jwt' }))
  })

  it('a wrong kid, one like a path or a query, one of another type', async () => {
    for (const kid of [
      ...[
        'unknown',
        '../../../../dev/null',
        '/etc/passwd',
        'https://evil.example/jwks.json',
        '',
        'OWN',
        'own ',
      ],
      ...["' union select secret from issuers --", 7, null, {}, ['own'], '__proto__', 'constructor'],
    ])
      await refused(await own.signs(own.says(), { kid }))
  })

  it('a key, or its address, inside of the token: nothing is fetched', async () => {
    const pair = await generateKeyPair('RS256', { extractable: true })
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'embedded', alg: 'RS256', use: 'sig' }
    const evil = await makeReceiver({ status: 200, body: JSON.stringify({ keys: [jwk] }) })
    for (const header of [
      { jwk },
      { jku: evil.url },
      { x5u: evil.url },
      { x5c: ['MIIB'] },
      { jku: evil.url, jwk, x5u: evil.url },
    ])
      for (const kid of ['embedded', 'own', evil.url])
        await refused(
          await new SignJWT({ ...own.says(), jwks_uri: evil.url, jku: evil.url })
            .setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...header, kid })
            .sign(pair.privateKey),
        )
    expect(await evil.seen()).toEqual([])
    // Beside a true signature they change nothing.
    expect((await ask(await own.signs(own.says(), { jku: evil.url, jwk }))).status).toBe(200)
    expect(await evil.seen()).toEqual([])
  })

  it('an extension that must be understood', async () => {
    await refused(await own.signs(own.says(), { crit: ['exp2'], exp2: 1 }))
    await refused(await own.signs(own.says(), { crit: ['b64'], b64: false }))
  })

  it('without a kid, while the issuer has one key that fits', async () => {
    expect((await ask(await own.signs(own.says(), { kid: undefined }))).status).toBe(200)
  })

  it('what an issuer publishes that is no signing key of its own: secrets, weak, encrypting and doubled keys', async () => {
    const { kid: _kid, ...plain } = own.publicJwk
    const weak = (await crypto.subtle.generateKey(
      {
        name: 'RSASSA-PKCS1-v1_5',
        modulusLength: 1024,
        publicExponent: new Uint8Array([1, 0, 1]),
        hash: 'SHA-256',
      },
      true,
      ['sign', 'verify'],
    )) as CryptoKeyPair
    const weakJwk = (await crypto.subtle.exportKey('jwk', weak.publicKey)) as JsonWebKey
    const secret = base64url(utf8(SHARED_SECRET))
    const keys = [
      { kty: 'oct', k: secret, kid: 'oct', alg: 'HS256' },
      { ...plain, kid: 'enc', use: 'enc' },
      { ...plain, kid: 'ops', use: undefined, key_ops: ['encrypt'] },
      { ...plain, kid: 'other', alg: 'RS512' },
      { ...plain, kid: 'twice' },
      { ...plain, kid: 'twice' },
      { ...weakJwk, kid: 'weak', use: 'sig', key_ops: undefined },
      { ...plain, kid: 'cut', n: 'AQAB' },
      null,
      'x',
      { ...plain, kid: 'fine' },
    ]
    const receiver = await makeReceiver({ status: 200, body: JSON.stringify({ keys }) })
    const iss = 'https://strange-keys.example.com'
    await trust(world, { iss, jwks_uri: receiver.url }, { algs: ['RS256'] })
    const says = { ...own.says(), iss }
    expect((await ask(await own.signs(says, { kid: 'fine' }))).status).toBe(200)
    for (const kid of ['enc', 'ops', 'other', 'twice', 'cut']) await refused(await own.signs(says, { kid }))
    await refused(
      await new SignJWT(says)
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: 'oct' })
        .sign(utf8(SHARED_SECRET)),
    )
    const head = `${part({ alg: 'RS256', typ: 'JWT', kid: 'weak' })}.${part(says)}`
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', weak.privateKey, utf8(head))
    await refused(`${head}.${base64url(new Uint8Array(signature))}`)
  })
})

describe('the curve', () => {
  it('of a key is the one that its algorithm names, and its point lies on it', async () => {
    const right = await OwnIssuer.make('ES256')
    const larger = await generateKeyPair('ES384', { extractable: true })
    const { publicJwk } = right
    const keys = [
      publicJwk,
      { ...(await exportJWK(larger.publicKey)), kid: 'p384', alg: 'ES256' },
      { ...(await exportJWK(larger.publicKey)), kid: 'said', alg: 'ES256', crv: 'P-256' },
      { ...publicJwk, kid: 'off', y: publicJwk.x },
      { ...publicJwk, kid: 'zero', x: base64url(new Uint8Array(32)), y: base64url(new Uint8Array(32)) },
      { ...publicJwk, kid: 'short', x: publicJwk.x?.slice(0, -4) },
    ]
    const receiver = await makeReceiver({ status: 200, body: JSON.stringify({ keys }) })
    const iss = 'https://curves.example.com'
    await trust(world, { iss, jwks_uri: receiver.url }, { algs: ['ES256', 'RS256'] })
    const says = { ...right.says(), iss }
    expect((await ask(await right.signs(says))).status).toBe(200)
    for (const kid of ['off', 'zero', 'short']) await refused(await right.signs(says, { kid }))
    for (const kid of ['p384', 'said']) {
      const input = `${part({ alg: 'ES256', typ: 'JWT', kid })}.${part(says)}`
      const how = { name: 'ECDSA', hash: 'SHA-256' }
      const signature = await crypto.subtle.sign(how, larger.privateKey, utf8(input))
      await refused(`${input}.${base64url(new Uint8Array(signature))}`)
    }
  })
})

describe('the signature', () => {
  it('a payload that was swapped', async () => {
    const [head, , signature] = (await own.signs(own.says())).split('.')
    await refused(`${head}.${part({ ...own.says(), sub: 'somebody-else' })}.${signature}`)
  })

  it('stripped, cut short, drawn out or altered', async () => {
    const [head, payload, signature = ''] = (await own.signs(own.says())).split('.')
    const flipped = (at: number) =>
      signature.slice(0, at) + (signature[at] === 'A' ? 'B' : 'A') + signature.slice(at + 1)
    for (const forged of ['', 'AA', signature.slice(0, -4), `${signature}AAAA`, flipped(0), flipped(40)])
      await refused(`${head}.${payload}.${forged}`)
    for (const token of [
      `${head}.${payload}`,
      `${head}`,
      `${head}..${signature}`,
      `.${payload}.${signature}`,
    ])
      await refused(token)
    await refused(`${head}.${payload}.${signature}.${signature}`)
  })

  it('the same bytes in another spelling', async () => {
    const good = await own.signs(own.says())
    const [head, payload, signature = ''] = good.split('.')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    // 256 bytes leave four bits of the last character without a meaning.
    const last = alphabet.indexOf(signature.at(-1) ?? '')
    const other = alphabet[last ^ 1]
    await refused(`${head}.${payload}.${signature.slice(0, -1)}${other}`)
    await refused(`${head}.${payload}.${signature}==`)
    await refused(`${head}=.${payload}.${signature}`)
  })
})

describe('the time', () => {
  it('expired, not yet valid, or without an end', async () => {
    await refused(await own.signs({ ...own.says(), exp: now() - 31 }), 'token_expired')
    await refused(await own.signs({ ...own.says(), exp: 0 }), 'token_expired')
    await refused(await own.signs({ ...own.says(), nbf: now() + 60 }))
    const { exp: _exp, ...endless } = own.says()
    await refused(await own.signs(endless))
    for (const exp of ['9999999999', null, [9999999999], {}, true])
      await refused(await own.signs({ ...own.says(), exp }))
    await refused(await own.signs({ ...own.says(), nbf: 'tomorrow' }))
  })

  it('is forgiven half a minute of a clock that goes wrong', async () => {
    expect((await ask(await own.signs({ ...own.says(), exp: now() - 25 }))).status).toBe(200)
    expect((await ask(await own.signs({ ...own.says(), nbf: now() + 25 }))).status).toBe(200)
  })
})

describe('the claims', () => {
  it('another issuer or audience, however close', async () => {
    const { iss } = own
    for (const other of [
      iss.slice(0, -1),
      `${iss}/`,
      iss.toUpperCase(),
      ` ${iss}`,
      '',
      null,
      [iss],
      7,
      undefined,
    ])
      await refused(await own.signs({ ...own.says(), iss: other }))
    for (const aud of [
      `${AUDIENCE}/`,
      AUDIENCE.toUpperCase(),
      '',
      null,
      [],
      ['else'],
      {},
      [[AUDIENCE]],
      7,
      undefined,
    ])
      await refused(await own.signs({ ...own.says(), aud }))
    expect((await ask(await own.signs({ ...own.says(), aud: ['else', AUDIENCE] }))).status).toBe(200)
  })

  it('ID tokens and refresh tokens of the same issuer', async () => {
    for (const typ of [
      'id+jwt',
      'rt+jwt',
      'logout+jwt',
      'dpop+jwt',
      'secevent+jwt',
      '',
      undefined,
      null,
      7,
      ['JWT'],
    ])
      await refused(await own.signs(own.says(), { typ }))
    for (const mark of [
      { at_hash: 'x' },
      { c_hash: 'x' },
      { token_use: 'id' },
      { typ: 'ID' },
      { typ: 'Refresh' },
      { typ: 'Offline' },
      { type: 'refresh' },
    ])
      await refused(await own.signs({ ...own.says(), ...mark }))
    expect((await ask(await own.signs({ ...own.says(), typ: 'Bearer', token_use: 'access' }))).status).toBe(
      200,
    )
  })

  it('another type than the issuer is configured for', async () => {
    const strict = await OwnIssuer.make()
    await trust(world, strict, { typ: 'at+jwt', algs: ['RS256'] })
    await refused(await strict.signs(strict.says()))
    expect((await ask(await strict.signs(strict.says(), { typ: 'at+jwt' }))).status).toBe(200)
    const loose = await OwnIssuer.make()
    await trust(world, loose, { typ: 'optional', algs: ['RS256'] })
    expect((await ask(await loose.signs(loose.says(), { typ: undefined }))).status).toBe(200)
    await refused(await loose.signs(loose.says(), { typ: 'id+jwt' }))
  })

  it('without what the issuer is configured to say', async () => {
    const marked = await OwnIssuer.make()
    await trust(world, marked, { require: { azp: 'web', typ: 'Bearer' }, algs: ['RS256'] })
    const says = { ...marked.says(), azp: 'web', typ: 'Bearer' }
    expect((await ask(await marked.signs(says))).status).toBe(200)
    for (const azp of ['other', ['web'], null, undefined]) await refused(await marked.signs({ ...says, azp }))
  })

  it('nobody, or a subject of another type', async () => {
    for (const sub of ['', null, 7, {}, ['x'], undefined, 'x'.repeat(256)])
      await refused(await own.signs({ ...own.says(), sub }))
  })

  it('a claim twice, so that readers may differ on it', async () => {
    const json = JSON.stringify(own.says())
    for (const doubled of [
      `{"sub":"somebody",${json.slice(1)}`,
      `${json.slice(0, -1)},"sub":"somebody"}`,
      `${json.slice(0, -1)},"exp":9999999999}`,
      `${json.slice(0, -1)},"s\\u0075b":"somebody"}`,
      `${json.slice(0, -1)},"realm":{"roles":[],"roles":["admin"]}}`,
    ])
      await refused(await own.signs(doubled))
    const input = `${part('{"alg":"none","alg":"RS256","typ":"JWT","kid":"own"}')}.${part(json)}`
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', own.pair.privateKey, utf8(input))
    await refused(`${input}.${base64url(new Uint8Array(signature))}`)
    // Another issuer prints its JSON as it likes.
    expect(
      (await ask(await own.signs(JSON.stringify(own.says(), null, 2).replaceAll('/', '\\/')))).status,
    ).toBe(200)
  })

  it('that are no object', async () => {
    for (const payload of ['[]', '"x"', '1', 'null', 'true', '{', '', '{}'])
      await refused(await own.signs(payload))
  })
})

describe('the size', () => {
  it('over 8 KiB is not looked at, under it is', async () => {
    const fill = (length: number) => own.signs({ ...own.says(), fill: 'x'.repeat(length) })
    const long = await fill(6_500)
    expect(long.length).toBeGreaterThan(8_192)
    await refused(long)
    expect((await ask(await fill(4_000))).status).toBe(200)
  })
})

describe('who is refused', () => {
  it('is counted against his address', async () => {
    const headers = { 'CF-Connecting-IP': '198.51.100.77' }
    const statuses: number[] = []
    for (let i = 0; i < 105; i++)
      statuses.push((await ask(await own.signs({ ...own.says(), nbf: now() + 60 }), headers)).status)
    expect(statuses.slice(0, 100)).toEqual(Array(100).fill(401))
    expect(statuses.at(-1)).toBe(429)
  })

  it('is nobody in the tenant afterwards', async () => {
    const who = person('never')
    await refused(await own.signs({ ...own.says(who), nbf: now() + 60 }))
    expect(
      (await meIn(world, await own.signs({ ...own.says(who), iss: 'https://evil.example' }))).status,
    ).toBe(401)
    const { results } = await env.DB.prepare('select 1 from users where email = ?')
      .bind(who.claims.email)
      .all()
    expect(results).toEqual([])
  })
})
