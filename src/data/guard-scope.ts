import { tenantTables, wordIndexes, wordViews } from './columns'
import { type Node, nameOf, splitAt } from './sql-tree'

/** What a statement was refused for. */
export class Refusal extends Error {}

/** A table of a FROM clause under its alias. `key` is the column that says whose a row is; null where none has to. */
export type Source = { alias: string; key: 'tenant_id' | 'id' | null; bound: boolean }

/** The tables that a condition may name: those of its own SELECT, then those around it. */
export type Scope = { sources: Source[]; outer: Scope | null }

/** A source with what hangs on it: its own SELECT or arguments, and the condition that joins it. */
export type Joined = { source: Source; inner: Node[] | null; on: Node[]; left: boolean }

const JOIN_WORDS = new Set(['join', 'left', 'right', 'full', 'inner', 'cross', 'natural', 'outer', ','])
const AFTER_TABLE = new Set([...JOIN_WORDS, 'on', 'using', 'not', 'indexed'])
const TABLE_FUNCTIONS = new Set(['json_each', 'json_tree'])

/** A table by its name: a tenant's, the directory's (to be read only), or a refusal. */
export function sourceOf(name: string | null, alias: string | null, ctes: ReadonlySet<string>): Source {
  if (name === null) throw new Refusal('a table has no plain name')
  const called = alias ?? name
  // An index of words says nothing but numbers of rows, which belong to a table that is bound.
  if (ctes.has(name) || wordIndexes.has(name)) return { alias: called, key: null, bound: true }
  if (tenantTables.has(name) || wordViews.has(name)) return { alias: called, key: 'tenant_id', bound: false }
  if (name === 'tenants') return { alias: called, key: 'id', bound: false }
  throw new Refusal(`"${name}" is not a tenant's table`)
}

/** The sources of a FROM clause. */
export function readSources(nodes: readonly Node[], ctes: ReadonlySet<string>): Joined[] {
  const found: Joined[] = []
  let i = 0
  while (i < nodes.length) {
    const words = new Set<Node>()
    for (; JOIN_WORDS.has(nodes[i] as string); i++) words.add(nodes[i] as Node)
    if (words.has('right') || words.has('full')) throw new Refusal('a right or full join keeps unbound rows')
    const table = nodes[i++]
    const next = nodes[i]
    if (next === '.') throw new Refusal('a table is named with its schema')
    let inner: Node[] | null = null
    if (Array.isArray(table)) {
      if (table[0] !== 'select' && table[0] !== 'with') throw new Refusal('a table stands in parentheses')
      inner = table
    } else if (Array.isArray(next)) {
      if (!TABLE_FUNCTIONS.has(String(table))) throw new Refusal('a table-valued function is not known')
      inner = next
      i++
    }
    if (nodes[i] === 'as') i++
    const alias = AFTER_TABLE.has(nodes[i] as string) ? null : nameOf(nodes[i])
    if (alias !== null) i++
    while (i < nodes.length && !JOIN_WORDS.has(nodes[i] as string) && nodes[i] !== 'on') i++
    const on: Node[] = []
    if (nodes[i] === 'on')
      for (i++; i < nodes.length && !JOIN_WORDS.has(nodes[i] as string); i++) on.push(nodes[i] as Node)
    const source = inner
      ? { alias: alias ?? '', key: null, bound: true }
      : sourceOf(nameOf(table), alias, ctes)
    found.push({ source, inner, on, left: words.has('left') })
  }
  return found
}

/** A condition; `only` where it binds no more than the table it joins (LEFT JOIN keeps every row of the others). */
export type Condition = { nodes: readonly Node[]; only: Source | null }

/** Marks the sources that conditions bind, by a parameter or by a source that is bound; answers with those parameters. */
export function settle(scope: Scope, conditions: readonly Condition[]): number[] {
  const params: number[] = []
  const equalities: { a: Source; b: Source; only: Source | null }[] = []
  for (const { nodes, only } of conditions) {
    for (const [left, right] of equalitiesOf(nodes)) {
      const a = operand(left, scope)
      const b = operand(right, scope)
      if (typeof a === 'number' || !a || b === null) continue
      if (typeof b === 'number') {
        params.push(b)
        if (only === null || a === only) a.bound ||= scope.sources.includes(a)
      } else equalities.push({ a, b, only })
    }
  }
  const bind = (one: Source, by: Source, only: Source | null) => {
    if (one.bound || !by.bound || (only !== null && one !== only)) return false
    one.bound = scope.sources.includes(one)
    return one.bound
  }
  let more = true
  while (more) more = equalities.some(({ a, b, only }) => bind(a, b, only) || bind(b, a, only))
  return params
}

/** The equalities that hold wherever the condition holds: conjuncts, not what stands under OR, NOT or CASE. */
function equalitiesOf(condition: readonly Node[]): [Node[], Node[]][] {
  if (condition.includes('or')) return []
  return conjunctsOf(condition).flatMap((part): [Node[], Node[]][] => {
    const [only] = part
    if (part.length === 1 && Array.isArray(only) && only[0] !== 'case') return equalitiesOf(only)
    const sides = splitAt(part, '=', '==')
    return sides.length === 2 ? [[sides[0] as Node[], sides[1] as Node[]]] : []
  })
}

function conjunctsOf(condition: readonly Node[]): Node[][] {
  const parts: Node[][] = [[]]
  let between = false
  for (const node of condition) {
    if (node === 'and' && !between) parts.push([])
    else parts.at(-1)?.push(node)
    // The AND of `between x and y` is none of ours.
    if (node === 'between') between = true
    else if (node === 'and') between = false
  }
  return parts
}

/** One side of an equality: a parameter's number, the source whose key it is, or null for anything else. */
function operand(nodes: readonly Node[], scope: Scope): number | Source | null {
  const [first] = nodes
  if (nodes.length === 1 && typeof first === 'object' && 'param' in first) return first.param
  const column = nameOf(nodes.at(-1))
  if (nodes.length === 1) {
    const having = scope.sources.filter((source) => source.key === column)
    return having.length === 1 ? (having[0] ?? null) : null
  }
  const alias = nodes.length === 3 && nodes[1] === '.' ? nameOf(first) : null
  for (let at: Scope | null = alias === null ? null : scope; at; at = at.outer) {
    const named = at.sources.find((source) => source.alias === alias)
    if (named) return named.key === column ? named : null
  }
  return null
}
