import { describe, expect, it } from 'vitest'
import { JsonSplitter } from '../../src/lib/json-splitter'
import { SseParser } from '../../src/lib/sse-parser'

const sse = (pieces: string[], isWhole?: (data: string) => boolean) => {
  const parser = new SseParser(isWhole)
  return [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()]
}

describe('SseParser', () => {
  const text =
    'retry: 5\r\n: hello\r\nevent: a\r\nid: 1\r\ndata: one\r\ndata:two\r\n\r\ndata:  x\rdata\r\rdata: y\n\n\ndata\n\n'
  const events = [
    { event: 'a', data: 'one\ntwo' },
    { event: '', data: ' x\n' },
    { event: '', data: 'y' },
  ]

  it('follows the standard, with every line end', () => {
    expect(sse([text])).toEqual(events)
  })

  it('does not care where the text was cut', () => {
    for (let i = 0; i <= text.length; i++)
      expect(sse([text.slice(0, i), text.slice(i)]), `${i}`).toEqual(events)
    expect(sse([...text])).toEqual(events)
    expect(sse([...text].flatMap((char) => [char, '']))).toEqual(events)
  })

  it('gives an event as soon as its blank line is there', () => {
    const parser = new SseParser()
    expect(parser.push('data: a\n')).toEqual([])
    expect(parser.push('\n')).toEqual([{ event: '', data: 'a' }])
    expect(parser.push('data: b\r')).toEqual([])
    expect(parser.push('\n')).toEqual([])
    expect(parser.push('\r')).toEqual([{ event: '', data: 'b' }])
  })

  it('gives what the end leaves', () => {
    expect(sse(['event: x\ndata: a'])).toEqual([{ event: 'x', data: 'a' }])
    expect(sse(['data: a\n'])).toEqual([{ event: '', data: 'a' }])
  })

  it('does not wait for a blank line after data that is whole', () => {
    const parser = new SseParser((data) => data.endsWith('}'))
    expect(parser.push('event: x\ndata: {1}\n')).toEqual([{ event: 'x', data: '{1}' }])
    expect(parser.push('data: {2\ndata: }\n')).toEqual([])
    expect(parser.push('\n')).toEqual([{ event: 'x', data: '{2\n}' }])
    expect(parser.push('data: {3}\n\n')).toEqual([{ event: '', data: '{3}' }])
  })

  it('reads a long line in small pieces in time that grows with its length', () => {
    const parser = new SseParser()
    const piece = 'x'.repeat(64)
    parser.push('data: ')
    for (let i = 0; i < 32_768; i++) parser.push(piece)
    expect(parser.push('\n\n')[0]?.data.length).toBe(64 * 32_768)
  })
})

describe('JsonSplitter', () => {
  const text = ' {"a":"}\\"{[","b":[1,{"c":"\\\\"}]}\n\n["x"] "y\\"z"{"d":1}\x1e{}\n'
  const values = ['{"a":"}\\"{[","b":[1,{"c":"\\\\"}]}', '["x"]', '"y\\"z"', '{"d":1}', '{}']

  it('gives each value as it closes, wherever the text was cut', () => {
    for (let i = 0; i <= text.length; i++) {
      const splitter = new JsonSplitter()
      expect([...splitter.push(text.slice(0, i)), ...splitter.push(text.slice(i))], `${i}`).toEqual(values)
      expect(splitter.open).toBe(false)
      expect(splitter.foreign).toBe(false)
    }
    const splitter = new JsonSplitter()
    expect([...text].flatMap((char) => splitter.push(char))).toEqual(values)
  })

  it('says when a value is unfinished, and when what follows is no value', () => {
    const open = new JsonSplitter()
    expect(open.push('{"a":[')).toEqual([])
    expect(open.open).toBe(true)
    for (const tail of ['x', '1', ',', '<', 'null']) {
      const splitter = new JsonSplitter()
      expect(splitter.push(`{"a":1}${tail}{"b":2}`)).toEqual(['{"a":1}'])
      expect(splitter.foreign).toBe(true)
      expect(splitter.push('{"c":3}')).toEqual([])
    }
  })
})
