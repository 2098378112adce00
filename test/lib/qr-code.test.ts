import { encode } from 'uqr'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/lib/encoding'
import { qrCode, qrSvg } from '../../src/lib/qr-code'

/** Bytes, as small letters are in no narrower mode. */
const text = (length: number) => 'otpauth://totp/ä?'.repeat(200).slice(0, length)
const bytes = (length: number) => utf8('a'.repeat(length))

/** What another implementation makes of the same with each of the eight masks; any of them is readable. */
const others = (words: string) =>
  Array.from({ length: 8 }, (_, mask) =>
    encode(words, { ecc: 'M', border: 0, maskPattern: mask }).data.map((row) => row.map(Number)),
  )

describe('a QR code', () => {
  it.each([1, 14, 40, 62, 63, 122, 123, 180, 213, 300, 500, 997, 1500])(
    'of %i letters is that of others',
    (length) => {
      expect(others(text(length))).toContainEqual(qrCode(utf8(text(length))))
    },
  )

  it.each([
    [1, 14, 21],
    [2, 26, 25],
    [6, 106, 41],
    [7, 122, 45],
    [9, 180, 53],
    [10, 213, 57],
    [32, 1538, 145],
    [40, 2331, 177],
  ])('of version %i holds %i bytes', (_version, most, size) => {
    expect(qrCode(bytes(most)).length).toBe(size)
    if (size < 177) expect(qrCode(bytes(most + 1)).length).toBe(size + 4)
    else expect(() => qrCode(bytes(most + 1))).toThrow('2332 bytes are too many')
  })

  it('has the mask that another implementation finds easiest to read', () => {
    expect(qrCode(utf8(text(300)))).toEqual(
      encode(text(300), { ecc: 'M', border: 0 }).data.map((row) => row.map(Number)),
    )
  })

  it('is drawn as it is, with light around it', () => {
    const rows = qrCode(bytes(20))
    const svg = qrSvg(bytes(20))
    const drawn = rows.map((row) => row.map(() => 0))
    for (const [, x, y, width] of svg.matchAll(/M(\d+),(\d+)h(\d+)v1h-\d+z/g))
      for (let i = 0; i < Number(width); i++) drawn[Number(y) - 4]?.splice(Number(x) - 4 + i, 1, 1)
    expect(drawn).toEqual(rows)
    expect(svg).toContain(`viewBox="0 0 ${rows.length + 8} ${rows.length + 8}"`)
  })
})
