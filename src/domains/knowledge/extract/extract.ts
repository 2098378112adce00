import type { Block } from '../chunks'
import { fromCsv, Unreadable } from './csv'
import { fromHtml } from './html'
import { fromMarkdown, fromText } from './text'

/** What is read of each type, by its content type or else the end of its name. */
const KINDS = [
  { kind: 'html', types: /^(?:text\/html|application\/xhtml\+xml)$/, names: /\.x?html?$/i },
  { kind: 'markdown', types: /^text\/(?:x-)?markdown$/, names: /\.(?:md|markdown)$/i },
  { kind: 'csv', types: /^text\/(?:csv|tab-separated-values)$/, names: /\.(?:csv|tsv)$/i },
  { kind: 'pdf', types: /^application\/pdf$/, names: /\.pdf$/i },
  { kind: 'text', types: /^text\/plain$/, names: /\.(?:txt|text|log)$/i },
] as const
export type Kind = (typeof KINDS)[number]['kind']

/** How a file is read; null where it is of no type that is. Markdown and CSV often go by the name of plain text. */
export function kindOf(contentType: string, filename: string): Kind | null {
  const byName = KINDS.find(({ names }) => names.test(filename))?.kind
  if (/^(?:text\/plain|application\/octet-stream)$/.test(contentType) && byName) return byName
  return KINDS.find(({ types }) => types.test(contentType))?.kind ?? null
}

/** The paragraphs of a document. Throws `Unreadable` where it is not what it is said to be. */
export async function blocksOf(kind: Kind, bytes: Uint8Array<ArrayBuffer>): Promise<Iterable<Block>> {
  if (kind === 'pdf') return (await import('./pdf')).fromPdf(bytes)
  const text = textOf(bytes, kind === 'html' ? charsetOf(bytes) : null)
  if (kind === 'html') return fromHtml(text)
  if (kind === 'csv') return fromCsv(text)
  return kind === 'markdown' ? fromMarkdown(text) : fromText(text)
}

/** What a page says of its characters within its first kilobyte, as HTML’s standard has it. */
function charsetOf(bytes: Uint8Array): string | null {
  const head = new TextDecoder('latin1').decode(bytes.subarray(0, 1024))
  return /<meta[^>]*\bcharset\s*=\s*["']?\s*([\w.:-]+)/i.exec(head)?.[1]?.toLowerCase() ?? null
}

/** A decoder of that name; of UTF-8 where there is none, or where it can’t be: what is read is no UTF-16 then. */
function decoderOf(charset: string): TextDecoder {
  const options = { fatal: true, ignoreBOM: false }
  try {
    return new TextDecoder(charset.startsWith('utf-16') ? 'utf-8' : charset, options)
  } catch {
    return new TextDecoder('utf-8', options)
  }
}

/** UTF-16 by its byte-order mark, what a page names, or UTF-8. */
function textOf(bytes: Uint8Array<ArrayBuffer>, charset: string | null): string {
  const [a, b, c] = bytes
  const marked = a === 0xff && b === 0xfe ? 'utf-16le' : a === 0xfe && b === 0xff ? 'utf-16be' : null
  const utf8 = a === 0xef && b === 0xbb && c === 0xbf
  const decoder = marked
    ? new TextDecoder(marked, { fatal: true, ignoreBOM: false })
    : decoderOf(utf8 ? 'utf-8' : (charset ?? 'utf-8'))
  try {
    const text = decoder.decode(bytes).replace(/\r\n?/g, '\n')
    if (text.includes('\0')) throw new Unreadable('is no text')
    return text
  } catch (error) {
    if (error instanceof Unreadable) throw error
    throw new Unreadable(`is no text in ${decoder.encoding.toUpperCase()}; save it as UTF-8`)
  }
}
