import type { Block } from '../chunks'
import { Unreadable } from './csv'
import { Trail } from './text'

/** What no one reads. What else stands in a head has no text; that a head ends is often left out. */
const SILENT = 'script, style, noscript, template, iframe, object, svg'
/** What begins on a line of its own. */
const BLOCKS =
  'p, div, section, article, main, header, footer, aside, nav, ul, ol, li, dl, dt, dd, table, tr, blockquote, pre, figure, figcaption, form, fieldset, address, details, summary'

/** What a page says, by the parser of the runtime: its paragraphs, each under its title and headings. */
export async function fromHtml(html: string): Promise<Block[]> {
  // A table of two thousand names that only this needs: no part of the Worker's start.
  const { decodeHTML } = await import('entities/decode')
  const blocks: Block[] = []
  const trail = new Trail()
  let text = ''
  let silent = 0
  const end = () => {
    blocks.push({ heading: trail.text, text: decodeHTML(text) })
    text = ''
  }
  const say = (more: string) => {
    if (silent === 0) text += more
  }
  const headingOf = (level: number): HTMLRewriterElementContentHandlers => ({
    element(element) {
      end()
      element.onEndTag(() => {
        const words = decodeHTML(text)
        text = ''
        if (words.trim() !== '') trail.enter(level, words)
      })
    },
  })
  const rewriter = new HTMLRewriter()
    .on(SILENT, {
      element(element) {
        try {
          element.onEndTag(() => {
            silent = Math.max(0, silent - 1)
          })
          silent += 1
        } catch {
          // `<svg/>` has no end, and nothing in it.
        }
      },
    })
    .on(BLOCKS, {
      element(element) {
        end()
        element.onEndTag(end)
      },
    })
    .on('td, th', { element: () => say(' ') })
    .on('br', { element: () => say('\n') })
    .on('hr', { element: end })
    .on('title', headingOf(0.5))
    .onDocument({ text: (chunk) => say(chunk.text), end })
  for (let level = 1; level <= 6; level++) rewriter.on(`h${level}`, headingOf(level))
  try {
    await rewriter.transform(new Response(html)).arrayBuffer()
  } catch {
    // A tag of more than some megabytes, say.
    throw new Unreadable('is no HTML that can be read: a tag in it does not end')
  }
  return blocks
}
