// Stands for the ASN.1 packages of @simplewebauthn/server (wrangler.toml says so). Without attestation one form is left to
// be read: the pair of numbers of an ECDSA signature.

/** `SEQUENCE { r INTEGER, s INTEGER }`: the signature of an EC key (WebAuthn, 6.5.5). */
export class ECDSASigValue {
  constructor(
    readonly r: Uint8Array,
    readonly s: Uint8Array,
  ) {}
}

const INTEGER = 0x02
const SEQUENCE = 0x30

// An object because that is what the packages' caller asks for.
export const AsnParser = {
  /** Reads an ECDSA signature; throws for whatever is not the one DER form of it, and for every other kind. */
  parse(data: ArrayBuffer | Uint8Array, kind: unknown): ECDSASigValue {
    if (kind !== ECDSASigValue) throw new Error('attestation certificates are not read here')
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data)
    const sequence = element(bytes, SEQUENCE)
    const r = element(sequence.content, INTEGER)
    const s = element(r.rest, INTEGER)
    if (sequence.rest.length > 0 || s.rest.length > 0)
      throw new Error('the signature has more than two numbers')
    return new ECDSASigValue(positive(r.content), positive(s.content))
  },
}

/** One element of the shortest form: 139 bytes, as of P-521, need two bytes for the length at most. */
function element(bytes: Uint8Array, tag: number): { content: Uint8Array; rest: Uint8Array } {
  const [first, second = 0, third = 0] = bytes
  const long = second === 0x81
  const length = long ? third : second
  const start = long ? 3 : 2
  if (first !== tag || bytes.length < start + length || (long ? length < 0x80 : second >= 0x80))
    throw new Error('the signature is not DER')
  return { content: bytes.subarray(start, start + length), rest: bytes.subarray(start + length) }
}

/** A positive integer in as few bytes as it takes. */
function positive(content: Uint8Array): Uint8Array {
  const [first = 0x80, second = 0x80] = content
  if (first >= 0x80 || (first === 0 && content.length > 1 && second < 0x80))
    throw new Error('the signature is not DER')
  return content
}
