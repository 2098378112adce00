import { describe, expect, it } from 'vitest'
import { Id, Time } from '../../src/lib/wire'

describe('a time on the wire', () => {
  it('is kept in UTC with milliseconds', () => {
    for (const [sent, kept] of [
      ['2026-01-31T10:00:00Z', '2026-01-31T10:00:00.000Z'],
      ['2026-01-31T11:30:00.5+01:30', '2026-01-31T10:00:00.500Z'],
      ['2026-01-01T00:00:00.123456789Z', '2026-01-01T00:00:00.123Z'],
      ['2024-02-29T23:59:59-23:59', '2024-03-01T23:58:59.000Z'],
      ['0000-01-01T00:00:00Z', '0000-01-01T00:00:00.000Z'],
    ] as const)
      expect([sent, Time.parse(sent)]).toEqual([sent, kept])
  })

  it('is refused where there is no such time, or no order with others', () => {
    for (const sent of [
      ...['', 'now', '2026-01-31', '2026-01-31T10:00Z', '2026-01-31T10:00:00', '2026-1-31T10:00:00Z'],
      ...['2026-02-29T00:00:00Z', '2026-02-30T00:00:00Z', '2026-13-01T00:00:00Z', '2026-01-01T24:00:00Z'],
      ...[
        '2026-01-01T00:00:60Z',
        '2026-01-01T00:00:00+24:00',
        '2026-01-01t00:00:00z',
        '+010000-01-01T00:00:00Z',
      ],
      // In UTC this is in the year 10000, which sorts before all others.
      '9999-12-31T23:59:59-14:00',
    ])
      expect([sent, Time.safeParse(sent).success]).toEqual([sent, false])
  })

  it('is told what is wrong with it, and nothing else', () => {
    const told = (sent: string) => Time.safeParse(sent).error?.issues.map(({ message }) => message)
    expect(told('yesterday')).toEqual(['must be a time like 2026-01-31T10:00:00.000Z'])
    expect(told('9999-12-31T23:59:59-14:00')).toContain('must be before the year 10000')
  })
})

describe('an id on the wire', () => {
  it('is any UUID of RFC 9562, in lower case', () => {
    const id = '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
    expect(Id.parse(id.toUpperCase())).toBe(id)
    for (const wrong of [
      '',
      id.slice(1),
      `${id} `,
      `{${id}}`,
      `urn:uuid:${id}`,
      id.replaceAll('-', ''),
      id.replace('7c1a', '9c1a'),
      id.replace('9d2b', 'cd2b'),
    ])
      expect([wrong, Id.safeParse(wrong).success]).toEqual([wrong, false])
  })
})
