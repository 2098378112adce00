import { parseAst } from 'vitest/node'

/** What of a note only the document reads (src/http/notes.ts). */
const OF_THE_DOCUMENT = ['tag', 'description', 'errors', 'also']

/** The words whose arguments hold something that the service itself never reads, by where they are imported from. */
const WORDS = {
  doc: {
    from: /(?:^|\/)route$/,
    cut: ([summary, note]) => [...emptied(summary), ...membersOf(note, OF_THE_DOCUMENT)],
  },
  body: { from: /(?:^|\/)route$/, cut: ([, options]) => membersOf(options, ['example']) },
  returns: { from: /(?:^|\/)route$/, cut: ([, , options]) => membersOf(options, ['description']) },
  // Keys and indices are D1's, which has them by migrations.
  sqliteTable: {
    from: /^drizzle-orm\/sqlite-core$/,
    cut: ([, columns, extras]) => argument(columns, extras),
  },
}

/**
 * The source of a module without what only the OpenAPI document and the migrations are made from: summaries,
 * descriptions, examples and names of schemas, error lists; keys and indices of tables. Lines stay where they are.
 */
export function strip(source, file) {
  const { body } = parseAst(source, { lang: 'ts' }, file)
  const imported = importsOf(body)
  // A migration's words at run time would find that a table has none.
  if (imported.has('getTableConfig')) throw new Error(`${file} reads the keys of tables, which are stripped`)
  const cuts = []
  for (const call of callsIn(body)) {
    const { callee, arguments: given } = call
    if (isMeta(call)) cuts.push({ start: callee.object.end, end: call.end })
    const word = callee.type === 'Identifier' ? WORDS[callee.name] : undefined
    if (word && imported.has(callee.name) && word.from.test(imported.get(callee.name)))
      cuts.push(...word.cut(given))
  }
  return cutOut(source, cuts)
}

/** `schema.meta({ … })`: every word of it is for the document. */
const isMeta = ({ callee, arguments: given }) =>
  callee.type === 'MemberExpression' &&
  callee.property.name === 'meta' &&
  given.length === 1 &&
  given[0].type === 'ObjectExpression'

function importsOf(body) {
  const found = new Map()
  for (const { type, source, specifiers } of body)
    if (type === 'ImportDeclaration') for (const one of specifiers) found.set(one.local.name, source.value)
  return found
}

function* callsIn(node) {
  if (Array.isArray(node)) {
    for (const one of node) yield* callsIn(one)
    return
  }
  if (typeof node !== 'object' || node === null) return
  if (node.type === 'CallExpression') yield node
  for (const child of Object.values(node)) if (typeof child === 'object') yield* callsIn(child)
}

const spanOf = ({ start, end }) => ({ start, end })

/** Members of an object that is written out where it stands; another is left as it is. */
function membersOf(object, names) {
  if (object?.type !== 'ObjectExpression') return []
  return object.properties
    .filter((member) => member.type === 'Property' && !member.computed && names.includes(member.key.name))
    .map((member) => ({ ...spanOf(member), comma: true }))
}

/** A text that is written out where it stands, empty. */
const emptied = (text) => (text?.type === 'Literal' ? [{ ...spanOf(text), by: "''" }] : [])

/** An argument with the comma before it. */
const argument = (before, given) => (given ? [{ start: before.end, end: given.end }] : [])

function cutOut(source, cuts) {
  let text = source
  const within = (one, other) => one !== other && other.start <= one.start && one.end <= other.end
  const outer = cuts.filter((cut) => !cuts.some((other) => within(cut, other)))
  for (const { start, end, comma, by = '' } of outer.sort((a, b) => b.start - a.start)) {
    const rest = text.slice(end)
    const skipped = comma ? (/^\s*,/.exec(rest)?.[0].length ?? 0) : 0
    const lines = text.slice(start, end + skipped).replace(/[^\n]/g, '')
    // TypeScript takes an `as` for the beginning of a statement where a line ends before it.
    const [cast = ''] = /^ as [^\n]*/.exec(rest) ?? []
    text = text.slice(0, start) + by + cast + lines + rest.slice(skipped + cast.length)
  }
  return text
}
