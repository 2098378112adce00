import { type FieldErrors, problem } from '../../../lib/problem'

// What the columns of CSV say of a contact.

const KNOWN = ['phone', 'name', 'timezone'] as const
const MUST = 'phone'
const ONE_OF_METADATA = 'metadata.'

/** The columns in their order: names of fields, and `metadata.` with a name. */
export type Columns = string[]

/** The columns of a header. 422 with each that is unknown, stands twice or is missing. */
export function columnsOf(header: readonly string[]): Columns {
  const fields: FieldErrors = Object.create(null)
  const columns = header.map((cell) => cell.trim()).map((name) => known(name) ?? name)
  columns.forEach((name, i) => {
    if (name === '') fields[`header.${i + 1}`] = 'must have a name'
    else if (known(name) === null)
      fields[`header.${name.slice(0, 100)}`] = `is no column: use ${KNOWN.join(', ')} and metadata.<name>`
    else if (columns.indexOf(name) < i) fields[`header.${name}`] = 'must stand there once'
  })
  if (!columns.includes(MUST)) fields[`header.${MUST}`] = 'must be a column'
  if (Object.keys(fields).length > 0) throw problem.invalid(fields)
  return columns
}

/** A column by its own name; null for one that is none. The names of fields may be in capitals. */
function known(name: string): string | null {
  const small = name.toLowerCase()
  if (KNOWN.some((one) => one === small)) return small
  const within = name.slice(ONE_OF_METADATA.length)
  // An object can't have a member of that name.
  if (!small.startsWith(ONE_OF_METADATA) || within === '' || within === '__proto__') return null
  return ONE_OF_METADATA + within
}

/** The contact that a line's fields say, to be checked; an empty field says nothing. */
export function fieldsOf(columns: Columns, values: readonly string[]): Record<string, unknown> {
  const contact: Record<string, unknown> = {}
  const metadata: Record<string, unknown> = {}
  columns.forEach((column, i) => {
    const text = (values[i] ?? '').trim()
    if (text === '') return
    if (column.startsWith(ONE_OF_METADATA)) metadata[column.slice(ONE_OF_METADATA.length)] = text
    // By an apostrophe a spreadsheet is told that it is no formula.
    else if (column === MUST) contact[column] = text.replace(/^'(?=\+)/, '')
    // A cell may have several lines.
    else contact[column] = text.replace(/\s+/g, ' ')
  })
  if (Object.keys(metadata).length > 0) contact.metadata = metadata
  // It is missed by its name, and not for its type.
  contact[MUST] ??= ''
  return contact
}
