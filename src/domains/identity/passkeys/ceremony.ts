import {
  generateAuthenticationOptions,
  generateRegistrationOptions,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type WebAuthnCredential,
} from '@simplewebauthn/server'
import type { Context, RequestContext } from '../../../data/context'
import type { Settings } from '../../../env'
import { fromBase64url, text } from '../../../lib/encoding'
import { CHALLENGE_MS, isChallenge, newChallenge, type Purpose } from './challenge'
import type { LoginAnswer, RegistrationAnswer } from './schema'

// What WebAuthn asks of a service (W3C, Web Authentication Level 3, 7.1 and 7.2), by @simplewebauthn/server. Who the user
// is comes from the device, which also asks for a finger, face or PIN: such a login is two factors.

/** EdDSA, ES256 and RS256 (IANA COSE): every authenticator has one of them. */
const ALGORITHMS = [-8, -7, -257]

/** Which origins a passkey may be used at. */
export type Accepts = (origin: string) => boolean

type Caller = Pick<RequestContext, 'settings' | 'now'>

/** The name under which devices keep passkeys: the service's host, or a domain above it that front ends share. */
export function relyingPartyId({ PASSKEY_RP_ID, PUBLIC_URL }: Settings): string {
  return PASSKEY_RP_ID || new URL(PUBLIC_URL).hostname
}

export const registering = (tenantId: string, userId: string): Purpose => `register:${tenantId}:${userId}`

type Known = { credential_id: string; transports: string[] }

/** What a browser needs to make a passkey. */
export async function registrationOptions(
  ctx: Context,
  user: { id: string; email: string; full_name: string | null },
  known: Known[],
) {
  return generateRegistrationOptions({
    rpName: 'Causeway',
    rpID: relyingPartyId(ctx.settings),
    userID: handleOf(ctx.tenant.id, user.id),
    userName: user.email,
    userDisplayName: user.full_name ?? user.email,
    challenge: await newChallenge(ctx.settings, registering(ctx.tenant.id, user.id), ctx.now),
    timeout: CHALLENGE_MS,
    attestationType: 'none',
    excludeCredentials: known.map(({ credential_id, transports }) => ({ id: credential_id, transports })),
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    supportedAlgorithmIDs: ALGORITHMS,
  })
}

/** What a browser needs to log in; the same for everybody, so it tells nothing of anybody. */
export async function loginOptions(caller: Caller) {
  return generateAuthenticationOptions({
    rpID: relyingPartyId(caller.settings),
    challenge: await newChallenge(caller.settings, 'login', caller.now),
    timeout: CHALLENGE_MS,
    userVerification: 'required',
  })
}

/** The passkey that a registration's answer brings; throws an Error that says what is wrong with it. */
export async function verifiedRegistration(
  caller: Caller,
  purpose: Purpose,
  response: RegistrationAnswer,
  accepts: Accepts,
) {
  const { registrationInfo } = await verifyRegistrationResponse({
    response: response as Parameters<typeof verifyRegistrationResponse>[0]['response'],
    expectedChallenge: (challenge) => isChallenge(caller.settings, purpose, caller.now, challenge),
    expectedOrigin: originOf(response.response.clientDataJSON, accepts),
    expectedRPID: relyingPartyId(caller.settings),
    requireUserVerification: true,
    supportedAlgorithmIDs: ALGORITHMS,
  })
  if (!registrationInfo) throw new Error('the attestation could not be verified')
  return registrationInfo
}

/** What a login's answer proves of a passkey; throws an Error that says what is wrong with it. */
export async function verifiedLogin(
  caller: Caller,
  response: LoginAnswer,
  passkey: Pick<WebAuthnCredential, 'id' | 'publicKey'>,
  accepts: Accepts,
) {
  const { verified, authenticationInfo } = await verifyAuthenticationResponse({
    response: response as Parameters<typeof verifyAuthenticationResponse>[0]['response'],
    expectedChallenge: (challenge) => isChallenge(caller.settings, 'login', caller.now, challenge),
    expectedOrigin: originOf(response.response.clientDataJSON, accepts),
    expectedRPID: relyingPartyId(caller.settings),
    // The counter is looked at once the signature is known to be good: a lower one then means a copy of the device's key.
    credential: { ...passkey, counter: 0 },
    requireUserVerification: true,
  })
  if (!verified) throw new Error('the signature is wrong')
  return authenticationInfo
}

type ClientData = { origin?: unknown; crossOrigin?: unknown; challenge?: unknown }

/** The origin that the browser signed for, if it is accepted; a page in somebody else's frame never is. */
function originOf(clientDataJSON: string, accepts: Accepts): string {
  const { origin, crossOrigin } = clientData(clientDataJSON)
  if (typeof origin !== 'string' || !accepts(origin))
    throw new Error(`the origin ${String(origin)} is not accepted`)
  if (crossOrigin === true) throw new Error('the page is in a frame of another origin')
  return origin
}

/** The challenge that an answer is to. */
export function challengeOf(clientDataJSON: string): string {
  return String(clientData(clientDataJSON).challenge)
}

function clientData(clientDataJSON: string): ClientData {
  const bytes = fromBase64url(clientDataJSON)
  const data: unknown = bytes ? JSON.parse(text(bytes)) : null
  if (typeof data !== 'object' || data === null) throw new Error('clientDataJSON can’t be read')
  return data
}

/** By which a device names the user: both ids, 16 bytes each (WebAuthn, 14.6.1: nothing personal in it). */
export function handleOf(tenantId: string, userId: string): Uint8Array<ArrayBuffer> {
  const digits = `${tenantId}${userId}`.replaceAll('-', '')
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}
