import { describe, expect, it } from 'vitest'
import { chunksOf } from '../../src/domains/knowledge/chunks'
import { Unreadable } from '../../src/domains/knowledge/extract/csv'
import { blocksOf, type Kind, kindOf } from '../../src/domains/knowledge/extract/extract'
import { pdfOf } from './pdf'

const bytesOf = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>
const chunks = async (kind: Kind, content: string | Uint8Array<ArrayBuffer>) =>
  chunksOf(await blocksOf(kind, typeof content === 'string' ? bytesOf(content) : content))

describe('how a file is read', () => {
  it.each([
    ['text/html', 'page', 'html'],
    ['application/xhtml+xml', 'page', 'html'],
    ['text/markdown', 'readme', 'markdown'],
    ['text/plain', 'readme.md', 'markdown'],
    ['text/plain', 'notes.txt', 'text'],
    ['text/plain', 'notes', 'text'],
    ['application/octet-stream', 'prices.CSV', 'csv'],
    ['text/csv', 'prices', 'csv'],
    ['application/pdf', 'manual', 'pdf'],
    ['image/png', 'picture.md', null],
    ['application/octet-stream', 'program', null],
  ])('%s called %s is %s', (type, name, kind) => expect(kindOf(type, name)).toBe(kind))
})

describe('the text', () => {
  it('of Markdown stands under its headings, code among it as it is', async () => {
    const text = [
      ...['Before all.', '', '# Returns', 'Within 30 days.', '', '## Refunds ##', 'By the same way.'],
      ...['```sh', '# no heading', '', 'refund --now', '```', '', '# Shipping', 'By sea.'],
    ].join('\r\n')
    expect(await chunks('markdown', text)).toEqual([
      { heading: null, text: 'Before all.' },
      { heading: 'Returns', text: 'Within 30 days.' },
      { heading: 'Returns › Refunds', text: 'By the same way.\n```sh\n# no heading\n\nrefund --now\n```' },
      { heading: 'Shipping', text: 'By sea.' },
    ])
  })

  it('of a page is what is read of it', async () => {
    const html = `<!doctype html><html><head><title>Help &amp; answers</title><style>p { color: red }</style>
      <script>var secret = "<p>not this</p>"</script></head><body><nav><a href="/">Home</a></nav>
      <h1>Returns</h1><p>Within&nbsp;30&#32;days &mdash; <b>no</b> questions<br>asked.</p>
      <ul><li>Unused</li><li>In its box</li></ul><h2>Fees</h2>
      <table><tr><th>Land</th><th>Fee</th></tr><tr><td>France</td><td>5&euro;</td></tr></table>
      <noscript>Turn on scripts</noscript><template><p>hidden</p></template><p>Ende`
    expect(await chunks('html', html)).toEqual([
      { heading: 'Help & answers', text: 'Home' },
      {
        heading: 'Help & answers › Returns',
        text: 'Within 30 days — no questions\nasked.\n\nUnused\n\nIn its box',
      },
      { heading: 'Help & answers › Returns › Fees', text: 'Land Fee\n\nFrance 5€\n\nEnde' },
    ])
  })

  it('of CSV names the columns of each row', async () => {
    expect(await chunks('csv', '\ufeffland;fee;\n"France, north";5;x\nSpain;;\n')).toEqual([
      { heading: null, text: 'land: France, north\nfee: 5\ncolumn 3: x\n\nland: Spain' },
    ])
    await expect(chunks('csv', 'a,b\n"open,1\n')).rejects.toThrow(Unreadable)
  })

  it('of CSV is parted by what parts its header', async () => {
    expect(await chunks('csv', 'question,"an;swer"\nHow?,"First this; then that"\nWhy;so,x\n')).toEqual([
      {
        heading: null,
        text: 'question: How?\nan;swer: First this; then that\n\nquestion: Why;so\nan;swer: x',
      },
    ])
    expect(await chunks('csv', 'a\tb\n1,5\t2;5\n')).toEqual([{ heading: null, text: 'a: 1,5\nb: 2;5' }])
  })

  it('of a page whose tags do not end, or end twice, is read all the same', async () => {
    for (const html of [
      '<html><head><title>T</title><meta charset="utf-8"><link rel="x"><body><p>Words',
      '<title>T</title><p>Wor<svg/>ds</p></svg></svg>',
      '<title>T</title></p></div></h1><svg><path d="M0"/></svg>Words',
      '<title>T</title><p>Words<!-- a comment without end',
      '<title>T</title><p>Words<script>if (a < b) document.write("<p>not this</p>")',
    ])
      expect([html, await chunks('html', html)]).toEqual([html, [{ heading: 'T', text: 'Words' }]])
    const endless = `<p>Words</p><a href="${'x'.repeat(4 * 1024 * 1024)}`
    const outcome = await chunks('html', endless).catch((error: unknown) => error)
    if (outcome instanceof Error) expect(outcome).toBeInstanceOf(Unreadable)
    else expect(outcome).toEqual([{ heading: null, text: 'Words' }])
  })

  it('of a page is in the characters that it names', async () => {
    const latin = (text: string) => Uint8Array.from(text, (sign) => sign.charCodeAt(0))
    for (const meta of [
      '<meta charset="iso-8859-1">',
      "<META http-equiv='Content-Type' content='text/html; charset=windows-1252'>",
    ])
      expect(await chunks('html', latin(`${meta}<p>K\u00f6ln`))).toEqual([
        { heading: null, text: 'K\u00f6ln' },
      ])
    await expect(chunks('html', latin('<p>K\u00f6ln'))).rejects.toThrow(
      'is no text in UTF-8; save it as UTF-8',
    )
    for (const charset of ['utf-16', 'made-up'])
      expect(await chunks('html', `<meta charset=${charset}><p>K\u00f6ln`)).toEqual([
        { heading: null, text: 'K\u00f6ln' },
      ])
  })

  it('of PDF is told page by page', async () => {
    expect(await chunks('pdf', pdfOf(['Within 30 days.', 'By sea.']))).toEqual([
      { heading: 'Page 1', text: 'Within 30 days.' },
      { heading: 'Page 2', text: 'By sea.' },
    ])
    await expect(chunks('pdf', 'no PDF at all')).rejects.toThrow('is a PDF that can’t be read')
  })

  it('may be in UTF-16 with its mark, and is nothing else than text', async () => {
    const wide = Uint8Array.from([0xff, 0xfe, 0x47, 0, 0xfc, 0, 0x6e, 0, 0x6e, 0])
    expect(await chunks('text', wide)).toEqual([{ heading: null, text: 'Günn' }])
    for (const bytes of [
      [0xff, 0x41],
      [0x41, 0, 0x42],
    ])
      await expect(chunks('text', Uint8Array.from(bytes))).rejects.toThrow(Unreadable)
  })
})

describe('chunks', () => {
  it('are cut after sentences, lines or words, and lose nothing', () => {
    const sentence = 'A sentence of some words that says nothing at all. '
    const texts = [
      sentence.repeat(100),
      'word '.repeat(900),
      '漢字。'.repeat(900),
      'x'.repeat(5_000),
      '😀'.repeat(2_000),
    ]
    for (const text of texts) {
      const cut = chunksOf([{ heading: null, text }])
      expect(Math.max(...cut.map((chunk) => chunk.text.length))).toBeLessThanOrEqual(1_200)
      expect(cut.length).toBeLessThan(text.length / 600 + 2)
      expect(
        cut
          .map((chunk) => chunk.text)
          .join('')
          .replaceAll(' ', ''),
      ).toBe(text.replaceAll(' ', ''))
    }
    expect(chunksOf([{ heading: null, text: sentence.repeat(100) }])[0]?.text).toMatch(/at all\.$/)
  })

  it('gather short paragraphs under one heading', () => {
    const blocks = Array.from({ length: 50 }, (_, i) => ({
      heading: i < 25 ? 'A' : 'B',
      text: `Paragraph ${i}.`,
    }))
    expect(chunksOf(blocks).map(({ heading }) => heading)).toEqual(['A', 'B'])
    expect(chunksOf([{ heading: null, text: ' \n ' }])).toEqual([])
  })
})
