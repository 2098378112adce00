// Servers echo what they were sent, in words of their own: no secret goes from there into what can be read.

/** A shorter word would be found within others, where nobody echoed it: it is hidden where it stands alone. */
export const SHORTEST_ECHO = 8
/** What is shorter is no secret. */
const LEAST = 4

export const ECHO_MASK = '********'

/**
 * How values that are to be hidden may stand in an answer: as they are, in a URL or form, in HTML, and in JSON as it is
 * written here and there.
 */
export function echoesOf(values: readonly string[]): string[] {
  const forms = values.flatMap((value) => {
    const json = JSON.stringify(value).slice(1, -1)
    // As Go's and PHP's libraries write it unless they are told otherwise.
    const go = json.replace(/[<>&]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`)
    const form = new URLSearchParams({ '': value }).toString().slice(1)
    return [value, json, go, json.replaceAll('/', '\\/'), encodeURIComponent(value), form, ...inHtml(value)]
  })
  // The longest first: one may be a part of another.
  return [...new Set(forms)].filter((form) => form.length >= LEAST).sort((a, b) => b.length - a.length)
}

/** With its signs as references, by the names and numbers that libraries give them. */
function inHtml(value: string): string[] {
  const named = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const quotes = [
    ['&quot;', '&#39;'],
    ['&#34;', '&#39;'],
    ['&quot;', '&#x27;'],
    ['&quot;', '&#039;'],
  ]
  return [
    named,
    ...quotes.map(([double = '', single = '']) => named.replaceAll('"', double).replaceAll("'", single)),
  ]
}

/** A text without these echoes. */
export const withoutEchoes = (text: string, echoes: readonly string[]): string =>
  without(text, echoes, (word) => alone(word, NO_LETTER))

const without = (text: string, echoes: readonly string[], short: (word: string) => RegExp): string =>
  echoes.reduce(
    (left, echo) => left.replaceAll(echo.length < SHORTEST_ECHO ? short(echo) : echo, ECHO_MASK),
    text,
  )

const LETTER = '[\\p{L}\\p{N}]'
/** What is behind a word that stands alone: no letter, or where more may follow, something that is none. */
const NO_LETTER = `(?!${LETTER})`
const ANOTHER_SIGN = '(?=[^\\p{L}\\p{N}])'

const alone = (word: string, behind: string): RegExp =>
  new RegExp(`(?<!${LETTER})${word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')}${behind}`, 'gu')

/** A JSON value without these echoes in any of its texts, names and numbers. */
export function valueWithoutEchoes(value: unknown, echoes: readonly string[]): unknown {
  if (typeof value === 'string') return withoutEchoes(value, echoes)
  if (typeof value === 'number') return echoes.includes(String(value)) ? ECHO_MASK : value
  if (Array.isArray(value)) return value.map((one) => valueWithoutEchoes(one, echoes))
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value)
  return Object.fromEntries(
    members.map(([name, one]) => [withoutEchoes(name, echoes), valueWithoutEchoes(one, echoes)]),
  )
}

/** Takes echoes out of a text that comes in pieces: what may be the beginning of one waits for what follows. */
export class EchoFilter {
  /** The last character that was let through: a short echo stands alone, or not, by what is before it. */
  private before = ''
  private held = ''

  constructor(private readonly echoes: readonly string[]) {}

  push(piece: string): string {
    const all = this.before + this.held + piece
    const text = without(all, this.echoes, (word) => alone(word, ANOTHER_SIGN)).slice(this.before.length)
    const most = Math.max(0, ...this.echoes.map((echo) => begunBy(text, echo)))
    this.held = text.slice(text.length - most)
    return this.through(text.slice(0, text.length - most))
  }

  end(): string {
    const text = withoutEchoes(this.before + this.held, this.echoes).slice(this.before.length)
    this.held = ''
    return this.through(text)
  }

  private through(text: string): string {
    this.before = [...text.slice(-2)].at(-1) ?? this.before
    return text
  }
}

/** How many of the last characters of a text are the first of an echo, or all of one that has to stand alone. */
function begunBy(text: string, echo: string): number {
  const most = echo.length < SHORTEST_ECHO ? echo.length : echo.length - 1
  for (let n = Math.min(text.length, most); n > 0; n--) if (text.endsWith(echo.slice(0, n))) return n
  return 0
}
