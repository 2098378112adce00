import {
  type Condition,
  type Joined,
  Refusal,
  readSources,
  type Scope,
  type Source,
  settle,
  sourceOf,
} from './guard-scope'
import { clausesOf, type Node, nameOf, splitAt, treeOf } from './sql-tree'

// A net under the code that writes statements: it reads what Drizzle prints (and what is written by hand) and refuses a
// statement that could reach a row of another tenant, or that it can't read. Each text is analysed once.
//
// The rule: every tenant's table in FROM, JOIN, UPDATE or DELETE is bound by a condition that holds for each row it
// gives, `tenant_id = ?` or `tenant_id = other.tenant_id` of one that is bound. Every inserted row binds tenant_id, and
// no row is given to another tenant. The parameters found so must be the tenant's own id. `tenants` may be read as the
// tenant's own row, and is never written.

type Analysis = { refusal: string } | { refusal: null; tenantParams: number[] }

/** What is found out on the way through one statement. */
type Reading = { tenantParams: number[]; ctes: Set<string> }

const analyses = new Map<string, Analysis>()
const MOST_REMEMBERED = 2000

/** Throws when `sql` with `params` could reach rows of another tenant than `tenantId`. */
export function confine(sql: string, params: readonly unknown[], tenantId: string): void {
  let analysis = analyses.get(sql)
  if (!analysis) {
    analysis = analyse(sql)
    if (analyses.size >= MOST_REMEMBERED) analyses.clear()
    analyses.set(sql, analysis)
  }
  if (analysis.refusal !== null) throw new Error(`statement refused: ${analysis.refusal}: ${sql}`)
  for (const index of analysis.tenantParams)
    if (params[index] !== tenantId) throw new Error(`statement refused: bound to another tenant: ${sql}`)
}

function analyse(sql: string): Analysis {
  const tree = treeOf(sql)
  if (!tree) return { refusal: 'it can’t be read' }
  const reading: Reading = { tenantParams: [], ctes: new Set() }
  try {
    query(tree, null, reading)
  } catch (error) {
    if (error instanceof Refusal) return { refusal: error.message }
    throw error
  }
  return { refusal: null, tenantParams: reading.tenantParams }
}

/** One SELECT with its sources settled, as an INSERT looks at what it gives. */
type Core = { items: Node[][]; scope: Scope }

const STATEMENTS = new Set<unknown>(['with', 'select', 'values', 'insert', 'update', 'delete'])

function query(nodes: readonly Node[], outer: Scope | null, reading: Reading): Core[] {
  const [body, rest] = nodes[0] === 'with' ? withoutCtes(nodes, reading) : [nodes[0], nodes]
  switch (body) {
    case 'select':
    case 'values':
      return splitAt(rest, 'union', 'except', 'intersect').map((core) =>
        select(core[0] === 'all' ? core.slice(1) : core, outer, reading),
      )
    case 'insert':
      insert(rest, reading)
      return []
    case 'update':
    case 'delete':
      change(rest, body, reading)
      return []
    default:
      throw new Refusal('it is neither SELECT, INSERT, UPDATE nor DELETE')
  }
}

/** Reads the queries of a WITH clause; answers with the statement behind them. */
function withoutCtes(nodes: readonly Node[], reading: Reading): [Node | undefined, Node[]] {
  const start = nodes.findIndex((node, i) => i > 0 && node !== 'with' && STATEMENTS.has(node))
  const named: Node[][] = splitAt(nodes.slice(nodes[1] === 'recursive' ? 2 : 1, start), ',')
  for (const [name] of named) {
    const cte = nameOf(name)
    // Under the name of a table, a query could stand for that table elsewhere in the statement.
    if (cte === null || isTable(cte)) throw new Refusal('a query of WITH has the name of a table')
    reading.ctes.add(cte)
  }
  for (const cte of named) {
    const inner = cte.at(-1)
    if (!Array.isArray(inner)) throw new Refusal('WITH can’t be read')
    query(inner, null, reading)
  }
  return [nodes[start], nodes.slice(start)]
}

function isTable(name: string): boolean {
  try {
    sourceOf(name, null, new Set())
    return true
  } catch {
    return false
  }
}

const SELECT_CLAUSES = ['select', 'from', 'where', 'group', 'having', 'window', 'order', 'limit']

function select(nodes: readonly Node[], outer: Scope | null, reading: Reading): Core {
  const clauses = clausesOf(nodes, SELECT_CLAUSES)
  const from = clauses.get('from')
  clauses.delete('from')
  const scope = confined(from ? readSources(from, reading.ctes) : [], clauses.get('where'), outer, reading)
  for (const clause of clauses.values()) subqueries(clause, scope, reading)
  const items = splitAt(clauses.get('select') ?? [], ',')
  for (const [value, as, name] of items)
    if (as === 'as' && nameOf(name) === 'tenant_id' && isParam(value)) reading.tenantParams.push(value.param)
  return { items, scope }
}

/** The scope of sources, each bound by the conditions given; refused where one is not. */
function confined(
  joined: readonly Joined[],
  where: readonly Node[] | undefined,
  outer: Scope | null,
  reading: Reading,
): Scope {
  const scope: Scope = { sources: joined.map(({ source }) => source), outer }
  const conditions: Condition[] = joined.map(({ on, source, left }) => ({
    nodes: on,
    only: left ? source : null,
  }))
  if (where) conditions.push({ nodes: where, only: null })
  reading.tenantParams.push(...settle(scope, conditions))
  const loose = scope.sources.find((source) => !source.bound)
  if (loose) throw new Refusal(`"${loose.alias}" is not bound to the tenant`)
  for (const { inner, on } of joined) {
    if (inner) isQuery(inner) ? query(inner, outer, reading) : subqueries(inner, scope, reading)
    subqueries(on, scope, reading)
  }
  return scope
}

const isParam = (node: Node | undefined): node is { param: number } =>
  typeof node === 'object' && 'param' in node

const isQuery = (nodes: readonly Node[]): boolean => STATEMENTS.has(nodes[0])

/** Reads the queries inside an expression. */
function subqueries(nodes: readonly Node[], scope: Scope | null, reading: Reading): void {
  for (const node of nodes) {
    if (!Array.isArray(node)) continue
    if (isQuery(node)) query(node, scope, reading)
    // `x in table` has no parentheses; a table in parentheses of its own is not something that is written here.
    else subqueries(node, scope, reading)
  }
  nodes.forEach((node, i) => {
    if (node === 'in' && !Array.isArray(nodes[i + 1])) throw new Refusal('IN must have a list or a query')
  })
}

const CHANGE_CLAUSES = ['update', 'delete', 'set', 'from', 'where', 'returning', 'order', 'limit']

/** UPDATE and DELETE: the table that is changed and those it is joined with. */
function change(nodes: readonly Node[], verb: 'update' | 'delete', reading: Reading): void {
  const clauses = clausesOf(nodes, CHANGE_CLAUSES)
  const from = clauses.get('from') ?? []
  const target = verb === 'update' ? (clauses.get('update') ?? []) : from
  if (verb === 'update' && target[0] === 'or') target.splice(0, 2)
  const [table, ...more] = readSources(target, reading.ctes)
  if (!table || more.length > 0 || table.source.key !== 'tenant_id')
    throw new Refusal('what it changes is not a tenant’s table')
  const joined = verb === 'update' ? readSources(from, reading.ctes) : []
  const scope = confined([table, ...joined], clauses.get('where'), null, reading)
  const assignments = clauses.get('set') ?? []
  keepTenant(assignments, reading)
  for (const clause of [assignments, clauses.get('where'), clauses.get('returning')])
    subqueries(clause ?? [], scope, reading)
}

/** Assignments may name tenant_id only to leave it as it is. */
function keepTenant(assignments: readonly Node[], reading: Reading): void {
  for (const [column, equals, ...value] of splitAt(assignments, ',')) {
    if (Array.isArray(column) && column.some((node) => nameOf(node) === 'tenant_id'))
      throw new Refusal('it assigns tenant_id among others')
    if (nameOf(column) !== 'tenant_id') continue
    const [first, dot, name] = value
    const excluded = value.length === 3 && nameOf(first) === 'excluded' && dot === '.'
    if (equals === '=' && value.length === 1 && isParam(first)) reading.tenantParams.push(first.param)
    else if (!excluded || nameOf(name) !== 'tenant_id') throw new Refusal('it gives rows to another tenant')
  }
}

function insert(nodes: readonly Node[], reading: Reading): void {
  const onConflict = nodes.findIndex((node, i) => node === 'on' && nodes[i + 1] === 'conflict')
  const returning = nodes.indexOf('returning')
  const end = [onConflict, returning].filter((at) => at >= 0).sort((a, b) => a - b)[0] ?? nodes.length
  const into = nodes.indexOf('into')
  if (nodes.slice(0, into).includes('replace')) throw new Refusal('REPLACE may remove rows of another tenant')
  const table = sourceOf(nameOf(nodes[into + 1]), null, reading.ctes)
  if (table.key !== 'tenant_id') throw new Refusal('what it inserts into is not a tenant’s table')
  const columns = nodes[into + 2]
  const place = Array.isArray(columns)
    ? splitAt(columns, ',').findIndex(([name]) => nameOf(name) === 'tenant_id')
    : -1
  if (place < 0) throw new Refusal('an inserted row does not bind tenant_id')
  const given = nodes.slice(into + 3, end)
  if (given[0] === 'values') insertedRows(given.slice(1), place, reading)
  else insertedSelection(given, place, reading)
  if (onConflict >= 0) upsert(nodes.slice(onConflict), { ...table, bound: true }, reading)
}

function insertedRows(rows: readonly Node[], place: number, reading: Reading): void {
  for (const [row] of splitAt(rows, ',')) {
    const value = Array.isArray(row) ? splitAt(row, ',')[place] : undefined
    if (value?.length !== 1 || !isParam(value[0]))
      throw new Refusal('an inserted row does not bind tenant_id')
    reading.tenantParams.push(value[0].param)
  }
  subqueries(rows, null, reading)
}

/** INSERT … SELECT: what goes into tenant_id is a parameter or the tenant_id of a source. */
function insertedSelection(nodes: readonly Node[], place: number, reading: Reading): void {
  for (const { items, scope } of query(nodes, null, reading)) {
    const item = splitAt(items[place] ?? [], 'as')[0] ?? []
    const [first, dot, column] = item
    const named = item.length === 3 && dot === '.' ? nameOf(first) : null
    const from = scope.sources.filter((source) => source.key === 'tenant_id')
    const source =
      item.length === 1 && nameOf(first) === 'tenant_id'
        ? from.length === 1 && scope.sources.length === 1
        : nameOf(column) === 'tenant_id' && from.some(({ alias }) => alias === named)
    if (item.length === 1 && isParam(first)) reading.tenantParams.push(first.param)
    else if (!source) throw new Refusal('an inserted row does not bind tenant_id')
  }
}

/** ON CONFLICT … DO UPDATE changes the row that stands in the way: it must be found by a key with tenant_id. */
function upsert(nodes: readonly Node[], table: Source, reading: Reading): void {
  const clauses = clausesOf(nodes, ['on', 'set', 'where', 'returning'])
  if (nodes.filter((node) => node === 'conflict').length > 1) throw new Refusal('ON CONFLICT stands twice')
  const target = clauses.get('on')?.[1]
  const keyed = Array.isArray(target) && target.some((node) => nameOf(node) === 'tenant_id')
  if (clauses.has('set') && !keyed) throw new Refusal('ON CONFLICT may change a row of another tenant')
  keepTenant(clauses.get('set') ?? [], reading)
  const scope: Scope = { sources: [table], outer: null }
  for (const clause of clauses.values()) subqueries(clause, scope, reading)
}
