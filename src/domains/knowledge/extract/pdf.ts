import { extractText, getDocumentProxy } from 'unpdf'
import type { Block } from '../chunks'
import { Unreadable } from './csv'

/** The text of a PDF, page by page. */
export async function fromPdf(bytes: Uint8Array<ArrayBuffer>): Promise<Block[]> {
  try {
    const { text } = await extractText(await getDocumentProxy(bytes), { mergePages: false })
    return text.map((page, i) => ({ heading: `Page ${i + 1}`, text: page }))
  } catch (cause) {
    const why =
      cause instanceof Error && cause.name === 'PasswordException' ? 'needs a password' : 'is damaged'
    throw new Unreadable(`is a PDF that can’t be read: it ${why}`)
  }
}
