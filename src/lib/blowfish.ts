// The key schedule of bcrypt (Provos and Mazières, "A Future-Adaptable Password Scheme", 1999) on Blowfish's state: 18
// subkeys and four boxes of 256 words, at first the fraction of pi.

const SUBKEYS = 18
const WORDS = SUBKEYS + 4 * 256
const ROUNDS = 16

const TEXT = 'OrpheanBeholderScryDoubt'
const ZERO = new Int32Array(SUBKEYS)

let initial: Int32Array | undefined

/** The first `bits` binary digits of pi after the point, by the series of the Chudnovsky brothers. */
export function fractionOfPi(bits: number): bigint {
  // The series' own errors stay in what is cut off in the end.
  const guard = 64n
  const one = 1n << (BigInt(bits) + guard)
  let term = one
  let [sum, weighted] = [one, 0n]
  for (let k = 1n; term !== 0n; k++) {
    term = (-term * (6n * k - 5n) * (2n * k - 1n) * (6n * k - 1n)) / (k * k * k * 10_939_058_860_032_000n)
    sum += term
    weighted += k * term
  }
  const pi = (426_880n * rootOf(10_005n * one * one) * one) / (13_591_409n * sum + 545_140_134n * weighted)
  return (pi - 3n * one) >> guard
}

/** The integer part of a square root, by Newton's method from above. */
function rootOf(square: bigint): bigint {
  let root = 1n << BigInt(Math.ceil(square.toString(16).length / 2) * 4)
  for (;;) {
    const next = (root + square / root) >> 1n
    if (next >= root) return root
    root = next
  }
}

/** What encrypts: the subkeys and the boxes, one after the other. */
type State = { subkeys: Int32Array; boxes: Int32Array }

function initialState(): State {
  initial ??= Int32Array.from(
    fractionOfPi(WORDS * 32)
      .toString(16)
      .padStart(WORDS * 8, '0')
      .match(/.{8}/g) ?? [],
    (word) => Number.parseInt(word, 16),
  )
  return { subkeys: initial.slice(0, SUBKEYS), boxes: initial.slice(SUBKEYS) }
}

const mixed = (boxes: Int32Array, half: number): number =>
  (((boxes[half >>> 24] as number) + (boxes[256 | ((half >>> 16) & 255)] as number)) ^
    (boxes[512 | ((half >>> 8) & 255)] as number)) +
  (boxes[768 | (half & 255)] as number)

/** Encrypts two words, which it puts at `at` of `out`. All of bcrypt's time is spent here. */
function encrypt(
  { subkeys, boxes }: State,
  first: number,
  second: number,
  out: Int32Array,
  at: number,
): void {
  let left = first ^ (subkeys[0] as number)
  let right = second
  for (let round = 1; round <= ROUNDS; round += 2) {
    right ^= mixed(boxes, left) ^ (subkeys[round] as number)
    left ^= mixed(boxes, right) ^ (subkeys[round + 1] as number)
  }
  out[at] = right ^ (subkeys[ROUNDS + 1] as number)
  out[at + 1] = left
}

/** Mixes the key, and words of salt, into the state. */
function expand(state: State, key: Int32Array, salt: Int32Array): void {
  for (let i = 0; i < SUBKEYS; i++) state.subkeys[i] = (state.subkeys[i] as number) ^ (key[i] as number)
  let [left, right, word] = [0, 0, 0]
  for (const part of [state.subkeys, state.boxes])
    for (let i = 0; i < part.length; i += 2) {
      left ^= salt[word++ & 3] as number
      right ^= salt[word++ & 3] as number
      encrypt(state, left, right, part, i)
      left = part[i] as number
      right = part[i + 1] as number
    }
}

/** Bytes as `count` words; from the end they begin again. */
function wordsOf(bytes: Uint8Array, count: number): Int32Array {
  const byte = (i: number) => bytes[i % bytes.length] as number
  return Int32Array.from(
    { length: count },
    (_, i) => (byte(4 * i) << 24) | (byte(4 * i + 1) << 16) | (byte(4 * i + 2) << 8) | byte(4 * i + 3),
  )
}

/** The 23 bytes of bcrypt for a password, its closing zero among its bytes, with 16 bytes of salt and 2^cost rounds. */
export function bcrypt(password: Uint8Array, salt: Uint8Array, cost: number): Uint8Array {
  const state = initialState()
  const key = wordsOf(password, SUBKEYS)
  const salted = wordsOf(salt, SUBKEYS)
  expand(state, key, salted)
  for (let round = 2 ** cost; round > 0; round--) {
    expand(state, key, ZERO)
    expand(state, salted, ZERO)
  }
  const words = wordsOf(new TextEncoder().encode(TEXT), TEXT.length / 4)
  for (let time = 0; time < 64; time++)
    for (let at = 0; at < words.length; at += 2)
      encrypt(state, words[at] as number, words[at + 1] as number, words, at)
  const out = new DataView(new ArrayBuffer(TEXT.length))
  words.forEach((value, i) => {
    out.setInt32(4 * i, value)
  })
  return new Uint8Array(out.buffer, 0, TEXT.length - 1)
}
