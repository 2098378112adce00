// Regular expressions that strangers give. The engine backtracks, so some of them take for ever on a short text: what
// repeats something that itself repeats, in more than one way. Those are refused, by a look at the pattern alone.

/** Longer ones are nobody's description of a value. */
const MOST_CHARACTERS = 500
const MOST_REPEATED = 1_000
/** In how many ways a pattern may go over a short text: some three repetitions without an end, or twenty optional parts. */
const MOST_WAYS = 1_000_000
const SHORT = 32

/** An alternative's parts, each with how often it may stand there. */
type Part = { source: string; group: Part[][] | null; min: number; max: number }

class Unreadable extends Error {}

/** Why a pattern is not taken, as what it must be; null where it may run on texts of any kind, of a bounded length. */
export function refusalOfPattern(source: string): string | null {
  if (source.length > MOST_CHARACTERS) return `must have at most ${MOST_CHARACTERS} characters`
  try {
    new RegExp(source, 'u')
  } catch {
    return 'must be a regular expression (ECMAScript, with the flag u)'
  }
  try {
    const whole = new Reader(source).alternatives()
    if (whole.some(hasNestedLoop))
      return 'must not repeat what itself repeats or branches, such as (a+)+ or (a|ab)*'
    if (waysOver(source, whole, SHORT) > MOST_WAYS)
      return 'must have at most 3 repetitions without an end, 2 if it does not begin with ^, and fewer beside parts that are optional or branch'
    return null
  } catch (error) {
    if (error instanceof Unreadable) return error.message
    throw error
  }
}

/** How many steps the engine takes at the most over a text of a length, with a pattern that was taken. */
export function stepsOf(source: string): (length: number) => number {
  const whole = new Reader(source).alternatives()
  const longest = longestRun(whole)
  return (length) => waysOver(source, whole, length) * Math.min(longest, length + 1)
}

const waysOver = (source: string, whole: readonly Part[][], length: number): number =>
  waysOf(whole, length) * (source.startsWith('^') && whole.length === 1 ? 1 : length)

const TOKEN =
  /\\u\{[^}]*\}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[pP]\{[^}]*\}|\\c[A-Za-z]|\\.|\[(?:\\.|[^\]\\])*\]|\(\?:|\(\?<?[=!]|\(\?<[^>]*>|[\s\S]/uy

/** Reads a pattern that is known to be one. */
class Reader {
  private at = 0
  private readonly source: string

  constructor(source: string) {
    this.source = source
  }

  alternatives(): Part[][] {
    const found: Part[][] = [[]]
    for (let token = this.next(); token !== '' && token !== ')'; token = this.next()) {
      if (token === '|') found.push([])
      else found.at(-1)?.push(this.part(token))
    }
    return found
  }

  private next(): string {
    TOKEN.lastIndex = this.at
    const token = TOKEN.exec(this.source)?.[0] ?? ''
    this.at += token.length
    return token
  }

  private part(token: string): Part {
    if (/^\(\?<?[=!]/.test(token)) throw new Unreadable('must not look ahead or behind')
    if (/^\\(?:[1-9]|k)/.test(token)) throw new Unreadable('must not refer back to a group')
    const start = this.at - token.length
    const group = token.startsWith('(') ? this.alternatives() : null
    const source = this.source.slice(start, this.at)
    return { source, group, ...this.times() }
  }

  private times(): { min: number; max: number } {
    const [whole = '', word = '', least = '', comma = '', most = ''] =
      /^(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/.exec(this.source.slice(this.at)) ?? []
    this.at += whole.length
    if (whole === '') return { min: 1, max: 1 }
    if (word !== '') return { min: word === '+' ? 1 : 0, max: word === '?' ? 1 : Infinity }
    const [min, max] = [Number(least), most === '' ? (comma === '' ? Number(least) : Infinity) : Number(most)]
    if ((max === Infinity ? min : max) > MOST_REPEATED)
      throw new Unreadable(`must repeat at most ${MOST_REPEATED} times, or without an end`)
    return { min, max }
  }
}

/** Whether what repeats can repeat inside too, without a mark that says where each turn begins. */
function hasNestedLoop(parts: readonly Part[]): boolean {
  return parts.some(({ group, min, max }) => {
    if (!group) return false
    if (group.some(hasNestedLoop)) return true
    const loops = max > 1 && (min !== max || group.some(repeats))
    if (!loops || waysOf(group, SHORT) === 1) return false
    return group.length > 1 || group.some((turn) => !isMarked(turn))
  })
}

const repeats = (parts: readonly Part[]): boolean =>
  parts.some((part) => part.min !== part.max || (part.group?.some(repeats) ?? false))

/** In how many ways alternatives may be gone through over a text of a length. */
function waysOf(alternatives: readonly Part[][], length: number): number {
  const ways = alternatives.map((parts) =>
    parts.reduce((product, part) => product * waysOfPart(part, length), 1),
  )
  return areApart(alternatives) ? Math.max(...ways) : ways.reduce((sum, one) => sum + one, 0)
}

function waysOfPart({ group, min, max }: Part, length: number): number {
  const once = group ? waysOf(group, length) : 1
  if (min === max) return once ** min
  if (max === 1) return once + 1
  return once * Math.max(1, Math.min(max, length) - min + 1)
}

/** Alternatives of which each begins with a character of its own: which is meant is never in doubt. */
function areApart(alternatives: readonly (readonly Part[])[]): boolean {
  const first = alternatives.map((parts) => literalOf(parts[0]))
  return first.every((one) => one !== null) && new Set(first).size === first.length
}

/**
 * Whether a turn begins with a character that nothing else in it takes, and has one part of any length at most: then it
 * can be cut in one way alone.
 */
function isMarked([first, ...rest]: readonly Part[]): boolean {
  const mark = first ? literalOf(first) : null
  const plain = mark !== null && rest.every((part) => !part.group && !takes(part.source, mark))
  return plain && rest.filter(({ min, max }) => min !== max).length <= 1
}

/** The one character that a part stands for. */
function literalOf(part: Part | undefined): string | null {
  if (!part || part.group || part.min !== 1 || part.max !== 1) return null
  if (/^[^\\[.^$]$/u.test(part.source)) return part.source
  return /^\\[^\w]$/.test(part.source) ? part.source.slice(1) : null
}

const takes = (source: string, character: string) => new RegExp(`^(?:${source})$`, 'u').test(character)

/** How often the longest repetition with an end stands there. */
const longestRun = (alternatives: readonly Part[][]): number =>
  Math.max(
    1,
    ...alternatives.flat().map(({ group, max }) => {
      const run = max === Number.POSITIVE_INFINITY ? 1 : max
      return run * (group ? longestRun(group) : 1)
    }),
  )
