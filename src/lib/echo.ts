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
  echoes.reduce(
    (left, echo) => left.replaceAll(echo.length < SHORTEST_ECHO ? alone(echo) : echo, ECHO_MASK),
    text,
  )

const alone = (word: string): RegExp =>
  new RegExp(`(?<![\\p{L}\\p{N}])${word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')}(?![\\p{L}\\p{N}])`, 'gu')

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
  private held = ''

  /** None of them is short: what stands around such a one may not be there yet. */
  constructor(private readonly echoes: readonly string[]) {}

  push(piece: string): string {
    const text = withoutEchoes(this.held + piece, this.echoes)
    const most = Math.max(0, ...this.echoes.map((echo) => begunBy(text, echo)))
    this.held = most === 0 ? '' : text.slice(-most)
    return most === 0 ? text : text.slice(0, -most)
  }

  end(): string {
    const { held } = this
    this.held = ''
    return held
  }
}

/** How many of the last characters of a text are the first of an echo. */
function begunBy(text: string, echo: string): number {
  for (let n = Math.min(text.length, echo.length - 1); n > 0; n--)
    if (text.endsWith(echo.slice(0, n))) return n
  return 0
}
