import { describe, expect, it } from 'vitest'
import { refusalOfPattern, stepsOf } from '../../src/lib/safe-pattern'

describe('a pattern of a stranger', () => {
  it.each([
    '^[A-Z]{2}-\\d+$',
    '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
    '^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$',
    '^[a-z]+(\\.[a-z]+)*$',
    '^(?:a|b|c)*$',
    '^(foo|bar)?$',
    '^(?:GET|HEAD|POST)(?:,(?:a|b))*$',
    '^(?:-[a-z]+)*$',
    '^\\d{4}-\\d{2}-\\d{2}(?:T\\d{2}:\\d{2}(?::\\d{2}(?:\\.\\d+)?)?(?:Z|[+-]\\d{2}:\\d{2})?)?$',
    '^\\+?\\d{1,3}[ -]?\\(?\\d{2,4}\\)?[ -]?\\d{3,4}[ -]?\\d{4}$',
    '\\p{Lu}\\p{Ll}*',
    '^\\u{1F600}$',
    '',
  ])('%s is taken', (source) => {
    expect(refusalOfPattern(source)).toBeNull()
  })

  it.each([
    ['(a+)+$', 'must not repeat'],
    ['^(a*)*$', 'must not repeat'],
    ['^(a|aa)+$', 'must not repeat'],
    ['^(a|a)*$', 'must not repeat'],
    ['^([a-z]+\\d?)*$', 'must not repeat'],
    ['^(\\.[a-z.]+)*$', 'must not repeat'],
    ['^((ab)*)*$', 'must not repeat'],
    ['^(.*){3}$', 'must not repeat'],
    ['^a*a*a*a*$', 'must have at most 3 repetitions'],
    ['a*b*c*', 'must have at most 3 repetitions'],
    ['a?'.repeat(30), 'must have at most 3 repetitions'],
    ['^a{0,50}a{0,50}a{0,50}a{0,50}$', 'must have at most 3 repetitions'],
    [`^${'(?:a|a)'.repeat(24)}$`, 'must have at most 3 repetitions'],
    ['^(?:a|a){24}$', 'must have at most 3 repetitions'],
    ['^(?:(?:a|a))*$', 'must not repeat'],
    ['^(?:-a*a*)*$', 'must not repeat'],
    ['^(?=a)b', 'must not look ahead'],
    ['(?<!a)b', 'must not look ahead or behind'],
    ['(a)\\1', 'must not refer back'],
    ['(?<x>a)\\k<x>', 'must not refer back'],
    ['a{2000}', 'must repeat at most'],
    ['[', 'must be a regular expression'],
    ['\\y', 'must be a regular expression'],
    ['x'.repeat(501), 'must have at most 500 characters'],
  ])('%s is refused: %s', (source, why) => {
    expect(refusalOfPattern(source)).toContain(why)
  })

  it('takes no longer than a blink on a text of a thousand characters, if it is taken', () => {
    const texts = ['a', 'a.', 'ab', '.a', 'a-'].map((part) => `${part.repeat(1000).slice(0, 1000)}!`)
    const taken = [
      '^a*a*a*$',
      '^[a-z]+(\\.[a-z]+)*$',
      '^[^@]+@[^@]+\\.[^@]+$',
      'a*b*',
      '^(?:a|b)*$',
      '[a-z]*x',
    ]
    for (const source of taken) {
      expect([source, refusalOfPattern(source)]).toEqual([source, null])
      const started = performance.now()
      for (const text of texts) expect(new RegExp(source, 'u').test(text)).toBeTypeOf('boolean')
      expect(performance.now() - started).toBeLessThan(2_000)
    }
  })

  it.each([
    ['^[a-z]+$', 100, 100],
    ['^[a-z]+\\d*$', 100, 10_100],
    ['[a-z]+', 100, 10_000],
    ['^(?:a|b)c{20}$', 100, 20],
  ])('%s takes over %i characters no more than so many steps', (source, length, steps) => {
    expect(stepsOf(source)(length)).toBe(steps)
  })
})
