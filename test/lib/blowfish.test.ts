import { describe, expect, it } from 'vitest'
import { bcrypt, fractionOfPi } from '../../src/lib/blowfish'
import { hex, utf8 } from '../../src/lib/encoding'

describe('the fraction of pi', () => {
  it('begins as everybody knows it', () => {
    // Blowfish's first four subkeys.
    expect(fractionOfPi(128).toString(16)).toBe('243f6a8885a308d313198a2e03707344')
    expect((3n * 10n ** 40n + ((fractionOfPi(256) * 10n ** 40n) >> 256n)).toString()).toBe(
      '31415926535897932384626433832795028841971',
    )
  })

  it('goes on so as far as Blowfish reads it', () => {
    // The last words of Blowfish's last box.
    expect(
      fractionOfPi(1042 * 32)
        .toString(16)
        .slice(-32),
    ).toBe('b74e6132ce77e25b578fdfe33ac372e6')
  })
})

describe('bcrypt', () => {
  it('is that of Openwall’s crypt_blowfish', () => {
    // $2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW, in hexadecimal
    const salt = new Uint8Array([16, 65, 4, 16, 65, 4, 16, 65, 4, 16, 65, 4, 16, 65, 4, 16])
    expect(hex(bcrypt(utf8('U*U\0'), salt, 5))).toBe('1bb69143f9a8d304c8d23d99ab049a77a68e2ccc744206')
  })
})
