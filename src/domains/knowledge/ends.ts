import { kindOf } from './extract/extract'

// Reading a PDF may take more memory than an isolate has, and an isolate that ends takes no failure down: its job would try
// for ever. So that it is begun is written first, and an isolate that finds a document begun, and not by itself, knows that
// it was the end of another one, or that a crash was.

/** Isolates that a document may be the end of. */
const MOST_ENDS = 3

const begunHere = new Set<string>()

type Document = { content_type: string; filename: string }

/** What there is to do before a document is read, which was begun so often: nothing, write down that it is, or give it up. */
export function firstOf(name: string, begun: number, { content_type, filename }: Document) {
  // Of a PDF, a few kB may unpack to anything.
  if (kindOf(content_type, filename) !== 'pdf' || begunHere.has(`${name}/${begun}`)) return 'nothing'
  if (begun >= MOST_ENDS) return 'give up'
  begunHere.add(`${name}/${begun + 1}`)
  return 'note'
}

/** It was read, or can't be: nothing is known of it any more. */
export const forget = (name: string, begun: number): boolean => begunHere.delete(`${name}/${begun}`)
