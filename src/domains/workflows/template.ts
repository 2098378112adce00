import { type Path, valueAt } from '../webhooks/endpoints/filter'

// `{{input.order.id}}`, `{{steps.look_up.output.body.total ?? 0}}`, `{{secrets.billing}}` in what a step says. What is put
// in their place is never read as a template itself.

/** A path, and a JSON value for where there is nothing at it. */
const USE =
  /\{\{\s*([A-Za-z]\w*(?:\.[\w-]+)*)\s*(?:\?\?\s*("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null)\s*)?\}\}/g
const ROOTS = ['input', 'trigger', 'steps', 'run']
const SECRET = /^secrets\.[\w-]{1,64}$/

const FORM =
  'must use values as {{input.…}}, {{trigger.…}}, {{run.…}}, {{steps.name.output.…}} or {{secrets.name}}, with ?? and a JSON value for what may be missing'

type Use = { whole: string; path: string; fallback: string | undefined }

const usesIn = (text: string): Use[] =>
  [...text.matchAll(USE)].map(([whole, path = '', fallback]) => ({ whole, path, fallback }))

/** Every text in a value, with its place. */
export function textsIn(value: unknown, at: string): { at: string; text: string }[] {
  if (typeof value === 'string') return [{ at, text: value }]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, one]) => textsIn(one, at === '' ? name : `${at}.${name}`))
}

/** Why a text can't be filled, whatever the run; null where it can. `steps` are the names of the workflow's. */
export function refusalOfText(text: string, steps: ReadonlySet<string>, secrets: boolean): string | null {
  const uses = usesIn(text)
  if (uses.length !== text.split('{{').length - 1) return FORM
  for (const { path } of uses) {
    const [root = '', name = ''] = path.split('.')
    if (root === 'secrets') {
      if (!SECRET.test(path)) return FORM
      if (!secrets)
        return 'can’t use a secret: only the headers and the body of an http step are sent with one'
    } else if (!ROOTS.includes(root)) return FORM
    else if (root === 'steps' && !steps.has(name)) return `uses {{${path}}}, but no step is called ${name}`
  }
  return null
}

/** The names of the secrets that a value's texts use. */
export function secretsIn(value: unknown): string[] {
  const paths = textsIn(value, '').flatMap(({ text }) => usesIn(text).map(({ path }) => path))
  return [...new Set(paths.filter((path) => SECRET.test(path)).map((path) => path.slice('secrets.'.length)))]
}

/** What a run knows: the roots of the paths, and the secrets that the step may use. */
export type Scope = Record<string, unknown> & { secrets?: Record<string, string> }

/** Why a step's texts could not be filled, as a sentence about them. */
export class Unfilled extends Error {}

/** So many characters at most come of all texts of a step: one value may stand in many places. */
const MOST_FILLED = 256 * 1024

/** Fills the texts of one step. */
export class Filler {
  private left = MOST_FILLED

  constructor(private readonly scope: Scope) {}

  /** A value with its texts filled; a text that is one use and no more becomes the very value. */
  value(template: unknown): unknown {
    if (typeof template === 'string') {
      const [use, second] = usesIn(template)
      if (!use || second || use.whole !== template.trim()) return this.text(template)
      const found = this.find(use)
      this.take(JSON.stringify(found)?.length ?? 0)
      return found
    }
    if (Array.isArray(template)) return template.map((one) => this.value(one))
    if (typeof template !== 'object' || template === null) return template
    return Object.fromEntries(Object.entries(template).map(([name, one]) => [name, this.value(one)]))
  }

  /** A text with each use replaced by what `print` makes of its value. */
  text(template: string, print: (value: unknown) => string = printed): string {
    this.take(template.length)
    return template.replace(USE, (whole, path: string, fallback?: string) => {
      const text = print(this.find({ whole, path, fallback }))
      this.take(text.length)
      return text
    })
  }

  private find({ path, fallback }: Use): unknown {
    const value = valueAt(this.scope, path satisfies Path)
    if (value !== undefined) return value
    if (fallback !== undefined) return JSON.parse(fallback)
    throw new Unfilled(
      `uses {{${path}}}, and there is no such value; give it another with {{${path} ?? null}}`,
    )
  }

  private take(length: number): void {
    this.left -= length
    if (this.left < 0) throw new Unfilled(`comes to more than ${MOST_FILLED / 1024} KiB with its values`)
  }
}

const printed = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** As it stands in a URL: what comes from outside makes no path, query or host of its own. */
export function inUrl(value: unknown): string {
  const text = printed(value)
  // As every parser of URLs reads them (https://url.spec.whatwg.org), these are no names.
  if (/^\.{1,2}$/.test(text))
    throw new Unfilled('has a value of nothing but dots in its URL, which would lead elsewhere')
  return encodeURIComponent(text.toWellFormed())
}
