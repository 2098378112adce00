import { fromBase64url, hex } from '../../../lib/encoding'

/** RFC 7518, section 3.3. */
const LEAST_BITS = 2048

/**
 * Primes by which the keys of the library behind CVE-2017-15361 (ROCA) are known: their moduli are powers of 65537
 * modulo each of these, as those of one other key in two hundred million are.
 */
const ROCA_PRIMES = [
  11n,
  13n,
  17n,
  19n,
  37n,
  53n,
  61n,
  71n,
  73n,
  79n,
  97n,
  103n,
  107n,
  109n,
  127n,
  151n,
  157n,
]
const GENERATOR = 65537n

/** For each prime the powers of the generator, made on first use. */
let powers: Map<bigint, Set<bigint>> | null = null

function powersOf(prime: bigint): Set<bigint> {
  const found = new Set<bigint>()
  for (let power = 1n; !found.has(power); power = (power * GENERATOR) % prime) found.add(power)
  return found
}

function isOfRoca(modulus: bigint): boolean {
  powers ??= new Map(ROCA_PRIMES.map((prime) => [prime, powersOf(prime)]))
  return [...powers].every(([prime, set]) => set.has(modulus % prime))
}

const numberIn = (value: unknown): bigint => {
  const bytes = typeof value === 'string' ? fromBase64url(value) : null
  return bytes && bytes.length > 0 ? BigInt(`0x${hex(bytes)}`) : 0n
}

/** Whether an RSA key (its members as in a JWK) is too short, has an exponent that is none, or can be computed by others. */
export function isWeakRsa({ n, e }: { n?: unknown; e?: unknown }): boolean {
  const [modulus, exponent] = [numberIn(n), numberIn(e)]
  if (modulus.toString(2).length < LEAST_BITS) return true
  return exponent < 3n || exponent % 2n === 0n || isOfRoca(modulus)
}
