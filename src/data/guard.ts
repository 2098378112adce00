import { tenantTables } from './columns'

// A safety net, not a parser: it reads the statements that Drizzle prints (and the few written by hand) and
// refuses one that reaches a tenant's table without binding that tenant. Each statement's text is analysed once.

type Analysis = { refusal: string } | { refusal: null; tenantParams: number[] }

const TOKEN =
  /'(?:[^']|'')*'|"[^"]*"|`[^`]*`|\?\d*|[A-Za-z_][A-Za-z0-9_]*|<>|<=|>=|!=|\|\||->>|->|[=(),.<>*+/-]|\S/g

const analyses = new Map<string, Analysis>()

/** Throws when `sql` with `params` could reach rows of another tenant than `tenantId`. */
export function confine(sql: string, params: readonly unknown[], tenantId: string): void {
  let analysis = analyses.get(sql)
  if (!analysis) {
    analysis = analyse(sql)
    if (analyses.size > 2000) analyses.clear()
    analyses.set(sql, analysis)
  }
  if (analysis.refusal !== null) throw new Error(`statement refused: ${analysis.refusal}: ${sql}`)
  for (const index of analysis.tenantParams)
    if (params[index] !== tenantId) throw new Error(`statement refused: bound to another tenant: ${sql}`)
}

function analyse(sql: string): Analysis {
  const tokens = (sql.match(TOKEN) ?? []).map((token) => (/^["`]/.test(token) ? token.slice(1, -1) : token))
  const word = (i: number) => tokens[i]?.toLowerCase() ?? ''
  const paramIndex = new Map<number, number>()
  let params = 0
  tokens.forEach((token, i) => {
    if (token.startsWith('?')) paramIndex.set(i, params++)
  })

  const ctes = new Set<string>()
  tokens.forEach((_, i) => {
    if (
      word(i + 1) === 'as' &&
      word(i + 2) === '(' &&
      (word(i - 1) === 'with' || word(i - 1) === ',' || word(i - 1) === 'recursive')
    )
      ctes.add(word(i))
  })

  let references = 0
  for (let i = 0; i < tokens.length; i++) {
    const before = word(i - 1)
    const opensTable =
      before === 'from' ||
      before === 'join' ||
      before === 'into' ||
      (before === 'update' && word(i - 2) !== 'do' && word(i) !== 'set')
    if (!opensTable || word(i) === '(') continue
    const name = word(i)
    if (ctes.has(name) || name === 'json_each') continue
    // The tenant's own row in the directory, by its id, may be a condition.
    if (name !== 'tenants' && !tenantTables.has(name)) return { refusal: `"${name}" is not a tenant's table` }
    references += 1
  }

  const tenantParams: number[] = []
  let confinements = 0
  for (let i = 0; i < tokens.length; i++) {
    const ownRow =
      word(i) === 'tenants' && word(i + 2) === 'id' && word(i + 3) === '=' ? paramIndex.get(i + 4) : undefined
    if (ownRow !== undefined) {
      tenantParams.push(ownRow)
      confinements += 1
    }
    if (word(i) !== 'tenant_id') continue
    // tenant_id = ?   and   ? as tenant_id
    const bound =
      word(i + 1) === '=' ? paramIndex.get(i + 2) : word(i - 1) === 'as' ? paramIndex.get(i - 2) : undefined
    if (bound !== undefined) {
      tenantParams.push(bound)
      confinements += 1
    } else if (word(i + 1) === '=' && (word(i + 2) === 'tenant_id' || word(i + 4) === 'tenant_id')) {
      confinements += 1 // a join on the tenant
    }
  }
  const inserted = insertedTenants(tokens, word, paramIndex)
  if (inserted === null) return { refusal: 'an inserted row does not bind tenant_id' }
  tenantParams.push(...inserted)
  if (inserted.length > 0) confinements += 1

  if (references > 0 && tenantParams.length === 0) return { refusal: 'no tenant_id is bound' }
  if (confinements < references) return { refusal: 'a table is joined or read without its tenant_id' }
  return { refusal: null, tenantParams }
}

/** Parameters that `INSERT … VALUES` binds to tenant_id, one a row; null where a row binds none. */
function insertedTenants(
  tokens: string[],
  word: (i: number) => string,
  paramIndex: Map<number, number>,
): number[] | null {
  const into = tokens.findIndex((_, i) => word(i) === 'into')
  const values = tokens.findIndex((_, i) => word(i) === 'values')
  if (into < 0 || values < into) return []
  let column = -1
  for (let i = into + 3, n = 0; word(i) !== ')' && i < values; i++) {
    if (word(i) === ',') n += 1
    else if (word(i) === 'tenant_id') column = n
  }
  if (column < 0) return null
  const found: number[] = []
  let i = values + 1
  while (word(i) === '(') {
    let depth = 0
    let position = 0
    let bound: number | undefined
    for (; i < tokens.length; i++) {
      const token = word(i)
      if (token === '(') depth += 1
      else if (token === ')') {
        depth -= 1
        if (depth === 0) break
      } else if (token === ',' && depth === 1) position += 1
      else if (position === column && depth === 1) bound = paramIndex.get(i)
    }
    if (bound === undefined) return null
    found.push(bound)
    i += word(i + 1) === ',' ? 2 : 1
  }
  return found
}
