import { jsonOfField } from '../../../lib/keepable'
import { type FieldErrors, problem } from '../../../lib/problem'

// What the columns of CSV say of an item. A field has no type but text: `attributes` has JSON for those that need one.

const KNOWN = ['external_id', 'title', 'category', 'tags', 'attributes', 'available'] as const
const MUST = ['external_id', 'title'] as const
const ONE_ATTRIBUTE = 'attributes.'

/** The columns in their order: names of fields, and `attributes.` with the name of one. */
export type Columns = string[]

/** The columns of a header. 422 with each that is unknown, stands twice or is missing. */
export function columnsOf(header: readonly string[]): Columns {
  const fields: FieldErrors = Object.create(null)
  const columns = header.map((cell) => cell.trim()).map((name) => known(name) ?? name)
  columns.forEach((name, i) => {
    if (name === '') fields[`header.${i + 1}`] = 'must have a name'
    else if (known(name) === null)
      fields[`header.${name}`] = `is no column: use ${KNOWN.join(', ')} and attributes.<name>`
    else if (columns.indexOf(name) < i) fields[`header.${name}`] = 'must stand there once'
  })
  for (const name of MUST) if (!columns.includes(name)) fields[`header.${name}`] = 'must be a column'
  if (Object.keys(fields).length > 0) throw problem.invalid(fields)
  return columns
}

/** A column by its own name; null for one that is none. The names of fields may be in capitals. */
function known(name: string): string | null {
  const small = name.toLowerCase()
  if (KNOWN.some((one) => one === small)) return small
  const isAttribute = small.startsWith(ONE_ATTRIBUTE) && name.length > ONE_ATTRIBUTE.length
  // An object can't have a member of that name.
  if (!isAttribute || name.slice(ONE_ATTRIBUTE.length) === '__proto__') return null
  return ONE_ATTRIBUTE + name.slice(ONE_ATTRIBUTE.length)
}

/** The item that a line’s fields say, to be checked; an empty field says nothing. 422 for what can’t be read. */
export function fieldsOf(columns: Columns, values: readonly string[]): Record<string, unknown> {
  const item: Record<string, unknown> = {}
  const attributes: Record<string, unknown> = {}
  columns.forEach((column, i) => {
    const text = values[i] ?? ''
    if (text.trim() === '') return
    if (column === 'tags') item.tags = tagsOf(text)
    else if (column === 'available') item.available = truthOf(text)
    else if (column === 'attributes') Object.assign(attributes, attributesOf(text))
    else if (column.startsWith(ONE_ATTRIBUTE)) attributes[column.slice(ONE_ATTRIBUTE.length)] = text
    else item[column] = text
  })
  if (Object.keys(attributes).length > 0) item.attributes = attributes
  // What is required is missed by its name, and not for its type.
  for (const name of MUST) item[name] ??= ''
  return item
}

/** A JSON list, or words with `|`, `;` or a comma between them. */
function tagsOf(text: string): unknown {
  if (text.trimStart().startsWith('[')) return jsonOfField('tags', text)
  return text
    .split(/[|;,]/)
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '')
}

function attributesOf(text: string): object {
  const value = jsonOfField('attributes', text)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw problem.invalid({ attributes: 'must be an object' })
}

const TRUE = new Set(['true', '1', 'yes'])
const FALSE = new Set(['false', '0', 'no'])

function truthOf(text: string): boolean {
  const word = text.trim().toLowerCase()
  if (TRUE.has(word)) return true
  if (FALSE.has(word)) return false
  throw problem.invalid({ available: 'must be true or false' })
}
