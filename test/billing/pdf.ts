import { getDocumentProxy } from 'unpdf'

/** The words of a PDF, page by page, as a reader that gives up at the first error has them. */
export async function pagesOf(bytes: Uint8Array): Promise<string[]> {
  const pdf = await getDocumentProxy(bytes.slice(), { stopAtErrors: true, useSystemFonts: true } as never)
  const pages: string[] = []
  for (let number = 1; number <= pdf.numPages; number++) {
    const { items } = await (await pdf.getPage(number)).getTextContent()
    pages.push(items.map((item) => ('str' in item ? item.str : '')).join('\n'))
  }
  return pages
}

/** What is wrong with the frame of a PDF 1.4, read as ISO 32000-1 writes it and mended nowhere (7.5). */
export function faultsOf(bytes: Uint8Array): string[] {
  const text = [...bytes].map((byte) => String.fromCharCode(byte)).join('')
  const faults: string[] = []
  const must = (holds: boolean, fault: string) => void (holds || faults.push(fault))
  must(/^%PDF-1\.4\n%[\x80-\xff]{4}\n/.test(text), 'header')
  const [, at = '', end] = /startxref\n(\d+)\n(%%EOF)\n$/.exec(text) ?? []
  must(end !== undefined, 'end')
  const xref = /^xref\n0 (\d+)\n((?:\d{10} \d{5} [nf] \n)+)trailer\n<< \/Size (\d+) \/Root (\d+) 0 R/.exec(
    text.slice(Number(at)),
  )
  must(xref !== null, 'xref')
  const [, count = '', table = '', size = '', root = ''] = xref ?? []
  const entries = table.split('\n').filter((line) => line !== '')
  must(entries.length === Number(count) && count === size, 'count')
  must(entries[0] === '0000000000 65535 f ', 'first entry')
  for (const [number, entry] of entries.entries())
    if (number > 0) must(text.startsWith(`${number} 0 obj\n`, Number(entry.slice(0, 10))), `object ${number}`)
  must(
    text.slice(Number(entries[Number(root)]?.slice(0, 10))).startsWith(`${root} 0 obj\n<< /Type /Catalog`),
    'root',
  )
  for (const [, length, content = ''] of text.matchAll(
    /<< \/Length (\d+) >>\nstream\n([\s\S]*?)\nendstream/g,
  ))
    must(content.length === Number(length), 'length of a stream')
  for (const [, ref] of text.matchAll(/(\d+) 0 R/g)) must(Number(ref) < Number(size), `reference ${ref}`)
  return faults
}
