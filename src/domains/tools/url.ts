// A tool’s URL: what an agent chooses stands in its path or query, as `{name}`, and makes no path or host of its own.

const PLACE = /\{([A-Za-z0-9_-]{1,64})\}/g

/** The names of the arguments that a URL has places for. */
export const placesIn = (url: string): string[] => [
  ...new Set([...url.matchAll(PLACE)].map(([, name = '']) => name)),
]

/** The URL with a letter in each place: what the rules for outgoing addresses look at. */
export const sampleOf = (url: string): string => url.replace(PLACE, 'x')

/** Why a URL is none that can be filled; null where it is. Where it may lead is for others to say. */
export function refusalOfForm(url: string): string | null {
  if (/\{\{\s*secrets\b/.test(url))
    return 'can’t use a secret, since URLs are written into logs: send it in a header'
  if (/[{}]/.test(url.replace(PLACE, '')))
    return 'must name an argument’s place as {name}, of letters, digits, _ and -'
  if (!/^[A-Za-z]+:\/\/[^/?#{}]+(?:[/?#]|$)/.test(url))
    return 'must be an absolute https URL; arguments may stand in its path and query alone'
  return url.includes('#') ? 'must have no fragment (#…), which is not sent' : null
}

/** The arguments can’t be put where they belong: a sentence about them. */
export class Unfit extends Error {}

/** The URL with its arguments in place. Throws Unfit for one that would lead elsewhere. */
export function filled(url: string, args: Record<string, unknown>): string {
  const [path = '', ...query] = url.split('?')
  const put = (text: string) => text.replace(PLACE, (_, name: string) => inUrl(name, args[name]))
  const steps = path.split('/').map((step, i) => {
    const text = put(step)
    // As every parser of URLs reads them (https://url.spec.whatwg.org), these are no names.
    if (i > 2 && text !== step && /^(?:\.|%2e){0,2}$/i.test(text))
      throw new Unfit(
        `${placesIn(step).join(' and ')} must be more than dots, since it is a part of the URL’s path`,
      )
    return text
  })
  return [steps.join('/'), ...query.map(put)].join('?')
}

function inUrl(name: string, value: unknown): string {
  if (!['string', 'number', 'boolean'].includes(typeof value))
    throw new Unfit(`${name} must be a text, a number, true or false, since it stands in the URL`)
  return encodeURIComponent(String(value).toWellFormed())
}

/** Arguments as a query or a form has them: lists as repeated names, objects as JSON, null left out. */
export function asPairs(args: Record<string, unknown>): string {
  const pairs = new URLSearchParams()
  for (const [name, value] of Object.entries(args))
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== null) pairs.append(name, typeof one === 'object' ? JSON.stringify(one) : String(one))
  return pairs.toString()
}
