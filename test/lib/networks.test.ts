import { describe, expect, it } from 'vitest'
import { isWithin, networkFrom } from '../../src/lib/ip-address'

const within = (cidr: string, address: string) => {
  const network = networkFrom(cidr)
  return network === null ? null : isWithin(network, address)
}

describe('a network', () => {
  it('holds the addresses that begin as it does', () => {
    for (const [cidr, inside, outside] of [
      [
        '10.0.0.0/8',
        ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3'],
        ['9.255.255.255', '11.0.0.0', '::a00:1'],
      ],
      ['203.0.113.64/26', ['203.0.113.64', '203.0.113.127'], ['203.0.113.63', '203.0.113.128']],
      ['192.0.2.1', ['192.0.2.1'], ['192.0.2.0', '192.0.2.2']],
      ['192.0.2.1/32', ['192.0.2.1'], ['192.0.2.2']],
      ['0.0.0.0/0', ['0.0.0.0', '255.255.255.255'], ['::1', '2001:db8::']],
      ['::/0', ['::', 'ffff::', '1.2.3.4'], []],
      [
        '2001:db8::/32',
        ['2001:db8::1', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
        ['2001:db9::', '2001:db7::'],
      ],
      ['2001:db8::/33', ['2001:db8:7fff::'], ['2001:db8:8000::']],
      ['2001:db8::1', ['2001:db8:0:0::1', '2001:DB8::1'], ['2001:db8::2']],
      ['2001:db8::1/127', ['2001:db8::', '2001:db8::1'], ['2001:db8::2']],
      // What stands after its length does not matter.
      ['10.1.2.3/8', ['10.9.9.9'], ['11.1.2.3']],
    ] as [string, string[], string[]][]) {
      for (const address of inside)
        expect([cidr, address, within(cidr, address)]).toEqual([cidr, address, true])
      for (const address of outside)
        expect([cidr, address, within(cidr, address)]).toEqual([cidr, address, false])
    }
  })

  it('holds each length exactly', () => {
    for (let bits = 0; bits <= 32; bits++) {
      // 255.255.255.255 with the bit after the length turned over.
      const other = bits === 32 ? null : (0xffffffff ^ (1 << (31 - bits))) >>> 0
      const text = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join('.')
      const cidr = `255.255.255.255/${bits}`
      if (other !== null) expect([cidr, within(cidr, text(other))]).toEqual([cidr, true])
      if (bits > 0) {
        const outside = (0xffffffff ^ (1 << (32 - bits))) >>> 0
        expect([cidr, within(cidr, text(outside))]).toEqual([cidr, false])
      }
    }
  })

  it('is nothing else, and holds nothing that is no address', () => {
    for (const text of [
      '',
      'x',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.3.256',
      '1.2.3.4/33',
      '::/129',
      '[::1]',
      '::1%eth0',
      '1.2.3.4/',
      '/8',
    ])
      expect([text, networkFrom(text)]).toEqual([text, null])
    for (const address of ['', 'localhost', '1.2.3', 'unknown'])
      expect(within('0.0.0.0/0', address)).toBe(false)
  })
})
