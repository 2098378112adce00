import { base64, fromBase64 } from '../../../lib/encoding'

// A vector as it is kept in D1: its direction, each part from -127 to 127. A hundredth is as near as items are told apart by.

const MOST = 127

/** The direction of a vector, in base64. */
export function packed(vector: readonly number[]): string {
  const most = Math.max(...vector.map(Math.abs)) || 1
  return base64(Uint8Array.from(vector, (part) => Math.round((part / most) * MOST) + 128))
}

export function unpacked(text: string): number[] {
  return Array.from(fromBase64(text) ?? [], (part) => part - 128)
}

/** The sum of vectors, each as long as its share: where something between them lies. Of other sizes than the first none counts. */
export function between(parts: readonly { vector: readonly number[]; share: number }[]): number[] {
  const size = parts[0]?.vector.length ?? 0
  const sum = new Array<number>(size).fill(0)
  for (const { vector, share } of parts) {
    const length = lengthOf(vector)
    if (vector.length === size && length > 0)
      vector.forEach((part, i) => {
        sum[i] = (sum[i] ?? 0) + (share * part) / length
      })
  }
  return sum
}

/** How alike two directions are: 1 for the same, 0 for what has nothing in common, or another size. */
export function cosine(one: readonly number[], other: readonly number[]): number {
  const lengths = lengthOf(one) * lengthOf(other)
  if (one.length !== other.length || lengths === 0) return 0
  return one.reduce((sum, part, i) => sum + part * (other[i] ?? 0), 0) / lengths
}

const lengthOf = (vector: readonly number[]): number => Math.hypot(...vector)
