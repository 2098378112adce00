// Documents are cut where they are cut anyway: at headings, paragraphs, sentences, words, in this order.

/** A paragraph, or a row of a table, and the headings that it stands under. */
export type Block = { heading: string | null; text: string }

/** What is found by itself: a paragraph or some that follow each other under one heading. */
export type Chunk = Block

/** Characters of a chunk: a question's words stand together within a paragraph or two, and five of them fit a prompt. */
const MOST = 1_200

/** Cuts a document; the same blocks are always cut the same. */
export function chunksOf(blocks: Iterable<Block>): Chunk[] {
  const chunks: Chunk[] = []
  let open: Chunk | null = null
  for (const { heading, text } of blocks) {
    for (const piece of pieces(text.replace(/[^\S\n]+/g, ' ').trim())) {
      if (open && open.heading === heading && open.text.length + 2 + piece.length <= MOST)
        open.text += `\n\n${piece}`
      else {
        open = { heading, text: piece }
        chunks.push(open)
      }
    }
  }
  return chunks
}

/** A text in pieces that are short enough. */
function* pieces(text: string): Generator<string, void> {
  let rest = text.toWellFormed()
  while (rest.length > MOST) {
    const at = cutOf(rest.slice(0, MOST))
    yield rest.slice(0, at).trim()
    rest = rest.slice(at).trim()
  }
  if (rest !== '') yield rest
}

/** Where to cut: after the last sentence, line or word that is whole; in the middle where there is none. */
function cutOf(text: string): number {
  for (const end of [/[.!?…][)"'»”]*\s(?=\S)|[。！？]/g, /\n/g, /\s/g]) {
    const last = [...text.matchAll(end)].at(-1)
    const at = last ? last.index + last[0].length : 0
    if (at > MOST / 2) return at
  }
  // Not between the halves of one character.
  return /[\ud800-\udbff]$/.test(text) ? text.length - 1 : text.length
}
