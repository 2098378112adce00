// Stands for the ASN.1 and X.509 packages that @simplewebauthn/server reads attestation certificates with (wrangler.toml
// says so). Attestation is never asked for, and without it one form is left to be read: the pair of numbers of an ECDSA
// signature. The packages would be a third of the whole Worker.

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

/** Stands for what only certificates need: nothing can be made of it. */
class Certificates {
  constructor() {
    throw new Error('attestation certificates are not read here')
  }
}

const none = 'of certificates'

export {
  Certificates as AuthorityKeyIdentifierExtension,
  Certificates as BasicConstraints,
  Certificates as Certificate,
  Certificates as CRLDistributionPointsExtension,
  Certificates as ECParameters,
  Certificates as ExtendedKeyUsage,
  Certificates as KeyDescription,
  Certificates as OctetString,
  Certificates as RSAPublicKey,
  Certificates as SubjectAlternativeName,
  Certificates as SubjectKeyIdentifierExtension,
  Certificates as X509Certificate,
  Certificates as X509ChainBuilder,
  Certificates as X509Crl,
  none as id_ce_basicConstraints,
  none as id_ce_extKeyUsage,
  none as id_ce_keyDescription,
  none as id_ce_subjectAltName,
  none as id_ecdsaWithSHA256,
  none as id_ecdsaWithSHA384,
  none as id_ecdsaWithSHA512,
  none as id_ecPublicKey,
  none as id_ml_dsa_44,
  none as id_ml_dsa_65,
  none as id_ml_dsa_87,
  none as id_rsaEncryption,
  none as id_secp256r1,
  none as id_secp384r1,
  none as id_sha1WithRSAEncryption,
  none as id_sha256WithRSAEncryption,
  none as id_sha384WithRSAEncryption,
  none as id_sha512WithRSAEncryption,
}
