import type { Block } from '../chunks'

const HEADING = /^(#{1,6})\s+(.+?)\s*#*\s*$/
const FENCE = /^\s*(`{3,}|~{3,})/

/** The paragraphs of plain text. */
export function* fromText(text: string): Generator<Block, void> {
  for (const paragraph of text.split(/\n\s*\n/)) yield { heading: null, text: paragraph }
}

/** The paragraphs of Markdown (CommonMark), each under its headings; code is left as it is. */
export function* fromMarkdown(text: string): Generator<Block, void> {
  const trail = new Trail()
  let lines: string[] = []
  let fence: string | null = null
  for (const line of text.split('\n')) {
    const mark = FENCE.exec(line)?.[1]
    if (fence === null && mark) fence = mark
    else if (fence !== null && mark?.startsWith(fence)) fence = null
    const [, level, words] = fence === null ? (HEADING.exec(line) ?? []) : []
    if (level === undefined && (fence !== null || line.trim() !== '')) {
      lines.push(line)
      continue
    }
    yield { heading: trail.text, text: lines.join('\n') }
    lines = []
    if (level && words) trail.enter(level.length, words)
  }
  yield { heading: trail.text, text: lines.join('\n') }
}

/** The headings that what follows stands under. */
export class Trail {
  private readonly levels: { level: number; words: string }[] = []

  enter(level: number, words: string): void {
    while ((this.levels.at(-1)?.level ?? 0) >= level) this.levels.pop()
    this.levels.push({ level, words: words.replace(/\s+/g, ' ').trim().slice(0, 200) })
  }

  get text(): string | null {
    return this.levels.map(({ words }) => words).join(' › ') || null
  }
}
