/** What fits into one line of a list. */
const LONGEST = 60

/** A title for a chat that was given none: the first words of what was asked. */
export function titleOf(content: string): string {
  const words = content
    .replace(/[`*~]+/g, '')
    .replace(/(^|\s)[#>|]+(?=\s|$)/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  const letters = [...(words || content.replace(/\s+/g, ' ').trim())]
  if (letters.length <= LONGEST) return letters.join('')
  const head = letters.slice(0, LONGEST - 1).join('')
  const end = head.lastIndexOf(' ')
  return `${(end > LONGEST / 2 ? head.slice(0, end) : head).trimEnd()}…`
}
