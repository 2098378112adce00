import { dereference, format as FORMATS, type OutputUnit, type Schema, validate } from '@cfworker/json-schema'
import type { FieldErrors } from '../../../lib/problem'
import { stepsOf } from '../../../lib/safe-pattern'
import { Budget, type Extent, extentOf, metered, TooMuch } from './budget'
import { draftOf, isObject, KEYWORDS, NOTES } from './keywords'

// JSON Schemas that tenants give, and data that is held against them. Both come from strangers: what a check may cost is
// bounded by what it looks at (budget.ts).

const MOST_BYTES = 32 * 1024
const MOST_NODES = 1_000
const MOST_DEPTH = 32
/** What a check may have cost for all that is wrong to be told; else what is wrong first. */
const MOST_TOLD_ALL = 50_000
/** Looks that a schema costs by itself, beside what it lists. */
const OF_A_SCHEMA = 5
/** Steps through a text, and characters of a list of values, that cost a look. */
const STEPS_A_LOOK = 50
const LISTED_A_LOOK = 10
/** Characters of a text that a format looks at. */
const MOST_FORMATTED = 8_192
/** Items of a list that are compared with each other. */
const MOST_COMPARED = 1_000
/** Of what is wrong with one event, no more is told. */
const MOST_ERRORS = 20

/** What is wrong with data, by the path of the place; null where nothing is. */
export type Checker = (data: unknown, budget?: Budget) => FieldErrors | null

/** What is wrong with a tenant's schema, by the path of the place, none where it can be used. */
export function schemaErrors(given: Record<string, unknown>): FieldErrors {
  const errors: FieldErrors = Object.create(null)
  const size = new TextEncoder().encode(JSON.stringify(given)).byteLength
  if (size > MOST_BYTES) return { schema: `must have at most ${MOST_BYTES} bytes; it has ${size}` }
  const schema = withoutNotes(given)
  const references: [string, Schema][] = []
  const nodes = walk(schema, (node, path, depth) => {
    if (!isObject(node)) {
      if (typeof node !== 'boolean') errors[path] = 'must be a schema: an object, true or false'
      return
    }
    if (depth > MOST_DEPTH) errors[path] = `must be nested at most ${MOST_DEPTH} schemas deep`
    for (const [name, value] of Object.entries(node)) {
      const keyword = keywordOf(name)
      const refusal = keyword ? keyword(value).refusal : 'is not a keyword that is checked here'
      if (refusal) errors[`${path}.${name}`] = refusal
      else if (name === '$ref') references.push([`${path}.$ref`, node])
    }
    if ('$schema' in node && path !== 'schema') errors[`${path}.$schema`] = 'must stand at the top'
  })
  if (nodes > MOST_NODES) errors.schema = `must have at most ${MOST_NODES} schemas in it; it has ${nodes}`
  if (Object.keys(errors).length > 0) return errors
  const known = dereference(schema)
  for (const [path, node] of references)
    if (known[node.__absolute_ref__ ?? ''] === undefined) errors[path] = 'points at nothing in this schema'
  return errors
}

/** A copy with nothing but what is checked: the validator would look for schemas in examples, too. */
function withoutNotes(given: Record<string, unknown>): Schema {
  const schema = structuredClone(given)
  const inside: unknown[] = []
  walk(schema, (node) => inside.push(node))
  for (const node of inside) if (isObject(node)) for (const name of NOTES) delete node[name]
  return schema
}

const keywordOf = (name: string) => (Object.hasOwn(KEYWORDS, name) ? KEYWORDS[name] : undefined)

/** Visits each schema in a schema; answers with how many there are. */
function walk(root: unknown, visit: (node: unknown, path: string, depth: number) => void): number {
  const open: [unknown, string, number][] = [[root, 'schema', 1]]
  let nodes = 0
  for (let next = open.pop(); next !== undefined; next = open.pop(), nodes++) {
    const [node, path, depth] = next
    visit(node, path, depth)
    if (!isObject(node)) continue
    for (const [name, value] of Object.entries(node))
      for (const [key, inner] of keywordOf(name)?.(value).inside ?? [])
        open.push([inner, key === '' ? `${path}.${name}` : `${path}.${name}.${key}`, depth + 1])
  }
  return nodes
}

/** What a schema's checker needs besides the schema. */
type Bounds = { formats: Map<string, (text: string) => boolean>; compares: boolean }

type Run = { budget: Budget; most: Extent }

/** Makes a checker of a schema that `schemaErrors` found nothing wrong with. */
export function checkerOf(given: Record<string, unknown>): Checker {
  const schema = withoutNotes(given)
  const run: Run = { budget: new Budget(), most: { text: 0, name: 0, names: 0, items: 0 } }
  const bounds: Bounds = { formats: new Map(), compares: false }
  const inside: unknown[] = []
  walk(schema, (node) => inside.push(node))
  for (const node of inside) if (isObject(node)) bound(node, bounds, run)
  const lookup = dereference(schema)
  for (const node of inside) if (isObject(node)) charge(node, run)
  const draft = draftOf(given.$schema) ?? '2020-12'
  const held = (data: unknown, stopsAtFirst: boolean) =>
    validate(metered(data, run.budget), schema, draft, lookup, stopsAtFirst)
  return (data, budget = new Budget()) => {
    try {
      Object.assign(run, { budget, most: extentOf(data) })
      if (bounds.compares && run.most.items > MOST_COMPARED) throw new TooMuch()
      budget.next()
      for (const [name, test] of bounds.formats) FORMATS[name] = test
      const { valid, errors } = held(data, true)
      if (valid) return null
      return told(budget.spentOf() > MOST_TOLD_ALL ? errors : allOf(() => held(data, false).errors, errors))
    } catch (error) {
      return { data: refusalOf(error) }
    } finally {
      for (const name of bounds.formats.keys()) delete FORMATS[name]
    }
  }

  /** All that is wrong, where that costs not much more than what is wrong first. */
  function allOf(find: () => OutputUnit[], first: OutputUnit[]): OutputUnit[] {
    try {
      run.budget.next(2 * MOST_TOLD_ALL)
      return find()
    } catch (error) {
      if (error instanceof TooMuch) return first
      throw error
    }
  }
}

function refusalOf(error: unknown): string {
  // Where a schema refers to itself for ever, and where there is more wrong than fits on the stack.
  if (error instanceof TooMuch || error instanceof RangeError)
    return 'is too much to be held against its schema; send less, or simplify the schema'
  if (error instanceof URIError) return 'has a name that is no text: half of a surrogate pair'
  throw error
}

/** Has each look at data by a schema be paid for. The validator asks every schema for this name once, each time. */
function charge(node: Record<string, unknown>, run: Run): void {
  const { enum: some, const: one, required, dependentRequired, properties, dependentSchemas } = node
  const listed = JSON.stringify([some, one, required, dependentRequired]).length
  const names = Object.keys({ ...(properties ?? {}), ...(dependentSchemas ?? {}) }).length
  const looks = OF_A_SCHEMA + names + listed / LISTED_A_LOOK
  const measures = 'minLength' in node || 'maxLength' in node
  const patterns = Object.keys(node.patternProperties ?? {}).map(stepsOf)
  Object.defineProperty(node, '$recursiveAnchor', {
    get: () => {
      const { text, name, names } = run.most
      const steps = patterns.reduce((sum, of) => sum + names * of(name), measures ? text : 0)
      run.budget.spend(looks + steps / STEPS_A_LOOK)
    },
  })
}

/** Has what a pattern and a format look at be paid for: a pattern becomes a format, which is a function. */
function bound(node: Record<string, unknown>, bounds: Bounds, run: Run): void {
  bounds.compares ||= node.uniqueItems === true
  const added: Schema[] = []
  const add = (name: string, test: (text: string) => boolean) => {
    bounds.formats.set(name, test)
    added.push({ format: name })
  }
  const { pattern, format } = node
  if (typeof pattern === 'string') {
    const [regex, steps] = [new RegExp(pattern, 'u'), stepsOf(pattern)]
    add(`pattern ${pattern}`, (text) => {
      run.budget.spend(steps(text.length) / STEPS_A_LOOK)
      return regex.test(text)
    })
    delete node.pattern
  }
  if (typeof format === 'string') {
    add(`format ${format}`, (text) => {
      run.budget.spend(text.length / STEPS_A_LOOK)
      return text.length <= MOST_FORMATTED && (FORMATS[format]?.(text) ?? true)
    })
    delete node.format
  }
  if (added.length > 0) node.allOf = [...((node.allOf as Schema[] | undefined) ?? []), ...added]
}

/** Keywords whose error says no more than that there is one further in. */
const AROUND = new Set([
  ...[
    '$ref',
    'properties',
    'patternProperties',
    'additionalProperties',
    'unevaluatedProperties',
    'propertyNames',
  ],
  ...['items', 'prefixItems', 'additionalItems', 'unevaluatedItems', 'allOf', 'if', 'dependentSchemas'],
])
/** Keywords whose error says all: which of the branches was meant is not known. */
const BRANCHING = new Set(['anyOf', 'oneOf', 'not', 'contains'])

function told(errors: readonly OutputUnit[]): FieldErrors {
  const branches = errors.filter(({ keyword }) => BRANCHING.has(keyword)).map((one) => one.keywordLocation)
  const fields: FieldErrors = Object.create(null)
  for (const unit of errors) {
    if (AROUND.has(unit.keyword)) continue
    if (branches.some((location) => unit.keywordLocation.startsWith(`${location}/`))) continue
    const [path, message] = describe(unit)
    fields[path] ??= message
    if (Object.keys(fields).length === MOST_ERRORS) break
  }
  if (Object.keys(fields).length === 0) fields.data = 'must be as its schema says'
  return fields
}

function describe({ keyword, error, instanceLocation }: OutputUnit): [path: string, message: string] {
  const place = pathOf(instanceLocation)
  const [, name = ''] = /"((?:[^"\\]|\\.)*)"/.exec(error) ?? []
  switch (keyword) {
    case 'required':
      return [`${place}.${name}`, 'is required by the schema']
    case 'false':
      return [place, 'is not allowed by the schema']
    case 'type':
      return [
        place,
        `must be ${error
          .replace(/^.*Expected /, '')
          .replace(/\.$/, '')
          .replaceAll('"', '')}`,
      ]
    case 'format':
      return [place, `must match the ${/format "([\s\S]*)"\.$/.exec(error)?.[1] ?? 'format'}`]
    default:
      return [place, `is not as the schema says: ${error.replace(/\.$/, '')}`]
  }
}

/** `#/lines/0/sku` as fields are named here: `data.lines.0.sku`. */
function pathOf(pointer: string): string {
  const steps = pointer.split('/').slice(1)
  const decode = (step: string) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
  return ['data', ...steps.map(decode)].join('.')
}
