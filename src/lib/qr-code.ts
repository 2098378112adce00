// QR codes (ISO/IEC 18004:2015) of bytes, with error correction of level M: up to 15 % of the picture may be unreadable.

/** By version, from 1: the check bytes of each block, and how many blocks there are (table 9). */
const CHECK_BYTES = [
  ...[10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26],
  ...new Array<number>(19).fill(28),
]
const BLOCKS = [
  ...[1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16],
  ...[17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49],
]

/** Which modules each mask turns over, by column and row (table 10). */
const MASKS: ((x: number, y: number) => number)[] = [
  (x, y) => (x + y) % 2,
  (_x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
]

const bit = (value: number, place: number) => (value >>> place) & 1

/** What a division by `divisor` in GF(2) leaves of `value`, below it: the check bits of format and version. */
function withCheck(value: number, divisor: number, bits: number): number {
  let rest = value
  for (let i = 0; i < bits; i++) rest = (rest << 1) ^ (bit(rest, bits - 1) * divisor)
  return (value << bits) | rest
}

/** The columns, and rows, of the centres of alignment patterns (annex E). */
function alignments(version: number): number[] {
  if (version === 1) return []
  const count = Math.floor(version / 7) + 2
  const step = version === 32 ? 26 : Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2
  return Array.from({ length: count }, (_, i) => (i === 0 ? 6 : version * 4 + 10 - (count - 1 - i) * step))
}

/** How many bytes a version holds, the check bytes among them. */
function capacity(version: number): number {
  const count = alignments(version).length
  const aligned = count === 0 ? 0 : (25 * count - 10) * count - 55
  return Math.floor(((16 * version + 128) * version + 64 - aligned - (version < 7 ? 0 : 36)) / 8)
}

const checksOf = (version: number) => CHECK_BYTES[version - 1] ?? 0
const blocksOf = (version: number) => BLOCKS[version - 1] ?? 0
const dataOf = (version: number) => capacity(version) - checksOf(version) * blocksOf(version)

/** A product in GF(256), modulo x⁸ + x⁴ + x³ + x² + 1. */
function product(a: number, b: number): number {
  let result = 0
  for (let i = 7; i >= 0; i--) result = (result << 1) ^ (bit(result, 7) * 0x11d) ^ (bit(b, i) * a)
  return result
}

/** The Reed-Solomon check bytes of one block. */
function checkBytes(data: readonly number[], count: number): number[] {
  let divisor = [1]
  for (let i = 0, root = 1; i < count; i++, root = product(root, 2))
    divisor = [...divisor, 0].map((one, at) => one ^ product(divisor[at - 1] ?? 0, root))
  const rest = [...data, ...new Array<number>(count).fill(0)]
  for (let at = 0; at < data.length; at++) {
    const factor = rest[at] ?? 0
    divisor.forEach((one, i) => {
      rest[at + i] = (rest[at + i] ?? 0) ^ product(one, factor)
    })
  }
  return rest.slice(data.length)
}

/** The bytes as a version holds them: the mode, their number, padding; then in blocks, each with its check bytes. */
function codewords(bytes: Uint8Array, version: number): number[] {
  const wide = version > 9
  // Half a byte for the mode shifts all that follow.
  const halves = [4, ...(wide ? [bytes.length >>> 12, (bytes.length >>> 8) & 15] : [])]
  for (const byte of [bytes.length & 255, ...bytes]) halves.push(byte >>> 4, byte & 15)
  halves.push(0)
  const data = Array.from(
    { length: halves.length / 2 },
    (_, i) => ((halves[2 * i] ?? 0) << 4) | (halves[2 * i + 1] ?? 0),
  )
  for (let pad = 0xec; data.length < dataOf(version); pad ^= 0xec ^ 0x11) data.push(pad)

  const [count, checks] = [blocksOf(version), checksOf(version)]
  const short = Math.floor(data.length / count)
  const shorter = count - (data.length % count)
  const blocks = Array.from({ length: count }, (_, i) => {
    const start = i * short + Math.max(0, i - shorter)
    return data.slice(start, start + short + (i < shorter ? 0 : 1))
  })
  const corrections = blocks.map((block) => checkBytes(block, checks))
  const across = (lists: number[][], length: number) =>
    Array.from({ length }, (_, i) => lists.flatMap((list) => list[i] ?? [])).flat()
  return [...across(blocks, short + 1), ...across(corrections, checks)]
}

type Module = { dark: number; fixed: boolean }
type Grid = Module[][]

function set(grid: Grid, x: number, y: number, dark: number): void {
  const row = grid[y]
  if (row?.[x]) row[x] = { dark, fixed: true }
}

/** A square pattern around a centre; `light` are the distances at which it is light. */
function drawSquare(grid: Grid, x: number, y: number, radius: number, light: number[]): void {
  for (let dy = -radius; dy <= radius; dy++)
    for (let dx = -radius; dx <= radius; dx++)
      set(grid, x + dx, y + dy, light.includes(Math.max(Math.abs(dx), Math.abs(dy))) ? 0 : 1)
}

function drawPatterns(grid: Grid, version: number): void {
  const last = grid.length - 1
  for (let i = 0; i <= last; i++) {
    set(grid, 6, i, (i + 1) % 2)
    set(grid, i, 6, (i + 1) % 2)
  }
  for (const [x, y] of [
    [3, 3],
    [last - 3, 3],
    [3, last - 3],
  ] as const)
    drawSquare(grid, x, y, 4, [2, 4])
  const places = alignments(version)
  const far = places.at(-1)
  for (const x of places)
    for (const y of places)
      if (!(x === 6 && y === 6) && !(x === 6 && y === far) && !(x === far && y === 6))
        drawSquare(grid, x, y, 2, [1])
  if (version < 7) return
  const bits = withCheck(version, 0x1f25, 12)
  for (let i = 0; i < 18; i++) {
    set(grid, last - 10 + (i % 3), Math.floor(i / 3), bit(bits, i))
    set(grid, Math.floor(i / 3), last - 10 + (i % 3), bit(bits, i))
  }
}

/** Level M and the mask, twice. */
function drawFormat(grid: Grid, mask: number): void {
  const last = grid.length - 1
  // Level M is 00.
  const bits = withCheck(mask, 0x537, 10) ^ 0x5412
  for (let i = 0; i < 15; i++) {
    const dark = bit(bits, i)
    if (i < 8) set(grid, 8, i < 6 ? i : i + 1, dark)
    else set(grid, i === 8 ? 7 : 14 - i, 8, dark)
    if (i < 8) set(grid, last - i, 8, dark)
    else set(grid, 8, last - 14 + i, dark)
  }
  set(grid, 8, last - 7, 1)
}

/** Pairs of columns from the right, upwards and downwards in turn, past what is fixed. */
function drawBytes(grid: Grid, bytes: readonly number[]): void {
  const last = grid.length - 1
  let at = 0
  for (let right = last; right > 0; right -= right === 8 ? 3 : 2)
    for (let step = 0; step <= last; step++)
      for (const x of [right, right - 1]) {
        const upward = ((right + (right < 6 ? 2 : 1)) & 2) === 0
        const module = grid[upward ? last - step : step]?.[x]
        if (!module || module.fixed) continue
        module.dark = bit(bytes[at >>> 3] ?? 0, 7 - (at & 7))
        at++
      }
}

const masked = (grid: Grid, mask: number): Grid =>
  grid.map((row, y) =>
    row.map(({ dark, fixed }, x) => ({ dark: fixed || MASKS[mask]?.(x, y) !== 0 ? dark : 1 - dark, fixed })),
  )

/** How hard a code is to read (7.8.3): long lines, blocks, what looks like a corner, and more of one colour. */
function penalty(grid: Grid): number {
  const rows = grid.map((row) => row.map(({ dark }) => dark).join(''))
  const columns = grid.map((_, x) => grid.map((row) => row[x]?.dark).join(''))
  let sum = 0
  for (const line of [...rows, ...columns]) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2
    sum += 40 * [...line.matchAll(/(?=10111010000|00001011101)/g)].length
  }
  rows.forEach((row, y) => {
    for (let x = 1; x < row.length; x++)
      if (/^(?:0000|1111)$/.test(row.slice(x - 1, x + 1) + rows[y + 1]?.slice(x - 1, x + 1))) sum += 3
  })
  const share = (100 * rows.join('').replaceAll('0', '').length) / grid.length ** 2
  return sum + 10 * Math.floor(Math.abs(share - 50) / 5)
}

/** Rows of modules, 1 where they are dark; throws where more bytes come than the largest code holds. */
export function qrCode(bytes: Uint8Array): number[][] {
  const needs = (version: number) => bytes.length + (version > 9 ? 3 : 2)
  const version = BLOCKS.findIndex((_, i) => needs(i + 1) <= dataOf(i + 1)) + 1
  if (version === 0) throw new Error(`${bytes.length} bytes are too many for a QR code`)
  const size = version * 4 + 17
  const grid = Array.from({ length: size }, () =>
    Array.from({ length: size }, () => ({ dark: 0, fixed: false })),
  )
  drawPatterns(grid, version)
  drawFormat(grid, 0)
  drawBytes(grid, codewords(bytes, version))
  const codes = MASKS.map((_, mask) => {
    const code = masked(grid, mask)
    drawFormat(code, mask)
    return { code, penalty: penalty(code) }
  })
  const best = codes.reduce((one, other) => (other.penalty < one.penalty ? other : one))
  return best.code.map((row) => row.map(({ dark }) => dark))
}

/** A QR code as a picture, with the quiet zone of four modules that readers need. */
export function qrSvg(bytes: Uint8Array): string {
  const rows = qrCode(bytes)
  const size = rows.length + 8
  const path = rows.flatMap((row, y) =>
    [...row.join('').matchAll(/1+/g)].map(
      ({ 0: run, index }) => `M${index + 4},${y + 4}h${run.length}v1h-${run.length}z`,
    ),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" width="${4 * size}" height="${4 * size}"><path fill="#fff" d="M0,0h${size}v${size}h-${size}z"/><path d="${path.join('')}"/></svg>`
}
