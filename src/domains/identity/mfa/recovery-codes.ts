import { randomBytes, sha256 } from '../../../lib/crypto'

/** So many are made at once. */
const HOW_MANY = 10
/** Without letters that are taken for others (Crockford's base32). */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
/** 80 bits: more than can be tried out, also by somebody who has the hashes. */
const LENGTH = 16

/** Ten codes to be shown once, in groups of four, and the hashes to be kept. */
export async function newRecoveryCodes(): Promise<{ codes: string[]; hashes: string[] }> {
  const codes = Array.from({ length: HOW_MANY }, newCode)
  return { codes, hashes: await Promise.all(codes.map(recoveryHash)) }
}

function newCode(): string {
  const letters = Array.from(randomBytes(LENGTH), (byte) => ALPHABET[byte % 32]).join('')
  return letters.replace(/.{4}(?=.)/g, '$&-')
}

/** The hash of a code as somebody may type it: capitals, blanks and hyphens don't matter, nor do o, i and l. */
export function recoveryHash(code: string): Promise<string> {
  const plain = code.toLowerCase().replace(/[\s-]/g, '').replaceAll('o', '0').replace(/[il]/g, '1')
  return sha256(`recovery:${plain}`)
}
