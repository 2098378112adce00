// A condition over an event's data. It is checked when it is saved, so that asking it costs next to nothing: every
// condition is looked at once at most, whatever the payload.

/** Where in the data: names joined by dots, or a list of names where one has a dot; a number picks from a list. */
export type Path = string | string[]
type Scalar = string | number | boolean | null
type Bounds = Partial<Record<'gt' | 'gte' | 'lt' | 'lte', string | number>>

export type Filter =
  | { and: Filter[] }
  | { or: Filter[] }
  | { not: Filter }
  | { path: Path; equals: Scalar }
  | { path: Path; in: Scalar[] }
  | { path: Path; exists: boolean }
  | { path: Path; prefix: string }
  | { path: Path; compare: Bounds }

const MOST_DEPTH = 8
const MOST_CONDITIONS = 50
const MOST_VALUES = 100
const MOST_NAMES = 16
/** Of the filter as JSON: every event reads it. */
const MOST_LENGTH = 4096

const TESTS = ['equals', 'in', 'exists', 'prefix', 'compare'] as const
const BOUNDS = ['gt', 'gte', 'lt', 'lte']
const FORM =
  'must be a condition: {"path": …} with one of equals, in, exists, prefix and compare; or and, or, not'

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isScalar = (value: unknown): value is Scalar =>
  value === null || ['string', 'number', 'boolean'].includes(typeof value)

type Issue = { at: (string | number)[]; why: string }

/** Everything that is wrong with a filter, each by its place in it. */
export function issuesOf(filter: unknown): Issue[] {
  let conditions = 0
  const check = (one: unknown, at: Issue['at'], depth: number): Issue[] => {
    conditions += 1
    if (conditions > MOST_CONDITIONS) return []
    if (depth > MOST_DEPTH) return [{ at, why: `must be at most ${MOST_DEPTH} conditions deep` }]
    if (!isObject(one)) return [{ at, why: FORM }]
    const [name = '', ...more] = Object.keys(one)
    const parts = one[name]
    if (more.length > 0 || !['and', 'or', 'not'].includes(name)) return issuesOfTest(one, at)
    const inside = [...at, name]
    if (name === 'not') return check(parts, inside, depth + 1)
    if (!Array.isArray(parts) || parts.length === 0)
      return [{ at: inside, why: 'must be a list of at least one condition' }]
    return parts.slice(0, MOST_CONDITIONS + 1).flatMap((part, i) => check(part, [...inside, i], depth + 1))
  }
  const issues = check(filter, [], 1)
  const tooMany = conditions > MOST_CONDITIONS
  if (tooMany) return [{ at: [], why: `must have at most ${MOST_CONDITIONS} conditions` }, ...issues]
  if (issues.length === 0 && JSON.stringify(filter).length > MOST_LENGTH)
    return [{ at: [], why: `must be at most ${MOST_LENGTH} characters of JSON` }]
  return issues
}

function issuesOfTest(one: Record<string, unknown>, at: Issue['at']): Issue[] {
  const tests = TESTS.filter((test) => Object.hasOwn(one, test))
  const unknown = Object.keys(one).filter((name) => name !== 'path' && !TESTS.some((test) => test === name))
  if (unknown.length > 0)
    return unknown.slice(0, 10).map((name) => ({ at: [...at, name], why: 'is not a known field' }))
  const [test] = tests
  if (test === undefined || tests.length > 1) return [{ at, why: FORM }]
  const wrong = { path: refusalOfPath(one.path), [test]: REFUSALS[test](one[test]) }
  return Object.entries(wrong).flatMap(([name, why]) => (why === null ? [] : { at: [...at, name], why }))
}

/** Why a path is not taken; null where it is. */
export function refusalOfPath(path: unknown): string | null {
  const names = typeof path === 'string' ? path.split('.') : path
  const fits =
    Array.isArray(names) &&
    names.length >= 1 &&
    names.length <= MOST_NAMES &&
    names.every((name) => typeof name === 'string' && name !== '')
  return fits ? null : `must be 1 to ${MOST_NAMES} names joined by dots, such as order.total`
}

const REFUSALS: Record<(typeof TESTS)[number], (value: unknown) => string | null> = {
  equals: (value) => (isScalar(value) ? null : 'must be a string, a number, true, false or null'),
  in: (value) =>
    Array.isArray(value) && value.length > 0 && value.length <= MOST_VALUES && value.every(isScalar)
      ? null
      : `must be a list of 1 to ${MOST_VALUES} strings, numbers, true, false or null`,
  exists: (value) => (typeof value === 'boolean' ? null : 'must be true or false'),
  prefix: (value) => (typeof value === 'string' && value !== '' ? null : 'must be a string of some length'),
  compare: (value) => {
    const bounds = isObject(value) ? Object.entries(value) : []
    const kinds = new Set(bounds.map(([, bound]) => typeof bound))
    const fits =
      bounds.length > 0 &&
      bounds.every(([name]) => BOUNDS.includes(name)) &&
      kinds.size === 1 &&
      (kinds.has('number') || kinds.has('string'))
    return fits ? null : 'must have some of gt, gte, lt and lte, all numbers or all strings'
  },
}

/** The place in a filter that says no to an event's data (`filter.and.1`); null where it lets the event pass. */
export function objection(filter: Filter, data: unknown, at = 'filter'): string | null {
  if ('and' in filter) {
    for (const [i, part] of filter.and.entries()) {
      const place = objection(part, data, `${at}.and.${i}`)
      if (place !== null) return place
    }
    return null
  }
  if ('or' in filter) return filter.or.some((part) => objection(part, data) === null) ? null : at
  if ('not' in filter) return objection(filter.not, data) === null ? at : null
  return holds(filter, valueAt(data, filter.path)) ? null : at
}

/** What stands there in data; undefined where there is no such member. */
export function valueAt(data: unknown, path: Path): unknown {
  let value = data
  for (const name of typeof path === 'string' ? path.split('.') : path) {
    const isMember = Array.isArray(value)
      ? /^\d{1,9}$/.test(name)
      : isObject(value) && Object.hasOwn(value, name)
    if (!isMember) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function holds(test: Extract<Filter, { path: Path }>, value: unknown): boolean {
  if ('equals' in test) return value === test.equals
  if ('in' in test) return test.in.some((one) => one === value)
  if ('exists' in test) return (value !== undefined) === test.exists
  if ('prefix' in test) return typeof value === 'string' && value.startsWith(test.prefix)
  const { gt, gte, lt, lte } = test.compare
  const than = (bound: string | number | undefined, is: (sign: number) => boolean) =>
    bound === undefined || is(order(value, bound))
  return (
    than(gt, (sign) => sign > 0) &&
    than(gte, (sign) => sign >= 0) &&
    than(lt, (sign) => sign < 0) &&
    than(lte, (sign) => sign <= 0)
  )
}

/** Numbers by size, strings by their characters, as ISO times go; NaN, which is on no side, for anything else. */
function order(value: unknown, bound: string | number): number {
  if (typeof value === 'number' && typeof bound === 'number') return Math.sign(value - bound)
  if (typeof value !== 'string' || typeof bound !== 'string') return Number.NaN
  return value < bound ? -1 : Number(value > bound)
}
