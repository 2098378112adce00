import { describe, expect, it } from 'vitest'
import { EchoFilter, echoesOf, valueWithoutEchoes, withoutEchoes } from '../../src/lib/echo'

const masked = (text: string, ...secrets: string[]) => withoutEchoes(text, echoesOf(secrets))

describe('what echoes a secret', () => {
  const SECRET = 'a&b<c>"d\'e/f+g h%'

  it.each([
    ['as it is', SECRET],
    ['in a URL', encodeURIComponent(SECRET)],
    ['in a form', new URLSearchParams([['token', SECRET]]).toString().slice('token='.length)],
    ['in JSON', JSON.stringify(SECRET).slice(1, -1)],
    ['in JSON of PHP', JSON.stringify(SECRET).slice(1, -1).replaceAll('/', '\\/')],
    ['in JSON of Go', 'a\\u0026b\\u003cc\\u003e\\"d\'e/f+g h%'],
    ['in HTML', 'a&amp;b&lt;c&gt;&quot;d&#39;e/f+g h%'],
    ['in HTML of Python', 'a&amp;b&lt;c&gt;&quot;d&#x27;e/f+g h%'],
    ['in HTML of PHP', 'a&amp;b&lt;c&gt;&quot;d&#039;e/f+g h%'],
    ['in HTML of Go', 'a&amp;b&lt;c&gt;&#34;d&#39;e/f+g h%'],
    ['in HTML as text', 'a&amp;b&lt;c&gt;"d\'e/f+g h%'],
  ])('is hidden %s', (_, echo) => {
    expect(masked(`You sent ${echo}!`, SECRET)).toBe('You sent ********!')
  })

  it('is hidden where it stands alone, if it is short', () => {
    expect(masked('PIN 4711, "4711" and pin=4711; not 24711 nor x4711', '4711')).toBe(
      'PIN ********, "********" and pin=********; not 24711 nor x4711',
    )
    expect(masked('({.*?}) said {"key":"a.c*"} not abc*', 'a.c*')).toBe(
      '({.*?}) said {"key":"********"} not abc*',
    )
    expect(masked('a word or two', 'or')).toBe('a word or two')
  })

  it('is hidden where another is a part of it', () => {
    expect(masked('s3cret-of-a and s3cret-of', 's3cret-of', 's3cret-of-a')).toBe('******** and ********')
  })

  it('is hidden in names, texts and numbers of a value', () => {
    const value = { 'long-secret-1': ['x long-secret-1', 47114711, 4711, 47], n: null }
    expect(valueWithoutEchoes(value, echoesOf(['long-secret-1', '47114711', '4711']))).toEqual({
      '********': ['x ********', '********', '********', 47],
      n: null,
    })
  })
})

describe('a text that comes in pieces', () => {
  const pieces = (secret: string, ...all: string[]) => {
    const filter = new EchoFilter(echoesOf([secret]))
    return [...all.map((piece) => filter.push(piece)), filter.end()]
  }

  it('has no echo, however it is cut', () => {
    const said = 'You sent s3cret-s3cret-key, not s3cret-s3cre.'
    for (let n = 1; n < said.length; n++) {
      const cut = said.match(new RegExp(`.{1,${n}}`, 'g')) ?? []
      expect(pieces('s3cret-s3cret-key', ...cut).join('')).toBe('You sent ********, not s3cret-s3cre.')
    }
  })

  it('has no short echo where that stands alone, however it is cut', () => {
    const said = '4711, x4711 and 47110 are not (4711) nor é4711; 47114711, 471 and "4711"4711'
    for (let n = 1; n < said.length; n++) {
      const cut = said.match(new RegExp(`.{1,${n}}`, 'gs')) ?? []
      expect([n, pieces('4711', ...cut).join('')]).toEqual([
        n,
        '********, x4711 and 47110 are not (********) nor é4711; 47114711, 471 and "********"********',
      ])
    }
  })

  it('waits for no more than what may be the beginning of one', () => {
    expect(pieces('k3y-of-them', 'Hello', ' k', '3', 'nd', ' k3y-')).toEqual([
      'Hello',
      ' ',
      '',
      'k3nd',
      ' ',
      'k3y-',
    ])
  })
})
