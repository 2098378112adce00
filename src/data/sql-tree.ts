/**
 * SQL as the guard reads it: a keyword or bare name in lower case, a quoted name behind `"`, a literal as `'`, a bound
 * parameter by its number, and whatever stands in parentheses as a list of its own; `case … end` is a list that begins
 * with `case`.
 */
export type Node = string | { param: number } | Node[]

const TOKEN =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|[?:@$]\w*|[A-Za-z_][A-Za-z0-9_$]*|\d[\w.]*|<>|<=|>=|!=|==|\|\||->>|->|\S/g

/** The tree of one statement; null where it is not one, or not one that can be read with certainty. */
export function treeOf(sql: string): Node[] | null {
  const root: Node[] = []
  const open: Node[][] = [root]
  let params = 0
  for (const token of sql.match(TOKEN) ?? []) {
    const at = open.at(-1) as Node[]
    if (token.startsWith('--') || token.startsWith('/*')) continue
    if (token === '?') at.push({ param: params++ })
    // Numbered and named parameters, several statements and bracketed names: nothing here prints them.
    else if (/^[?:@$;[\]]/.test(token)) return null
    else if (token === '(' || (token.toLowerCase() === 'case' && at.at(-1) !== '.')) {
      const inner: Node[] = token === '(' ? [] : ['case']
      at.push(inner)
      open.push(inner)
    } else if (token === ')' || (token.toLowerCase() === 'end' && at[0] === 'case')) {
      if (open.length === 1 || (token === ')') === (at[0] === 'case')) return null
      open.pop()
    } else at.push(printed(token))
  }
  return open.length === 1 ? root : null
}

function printed(token: string): string {
  if (token.startsWith("'")) return "'"
  if (/^["`]/.test(token)) return `"${token.slice(1, -1).toLowerCase()}`
  return token.toLowerCase()
}

/** The name that a node is, quoted or not; null where it is none. */
export function nameOf(node: Node | undefined): string | null {
  if (typeof node !== 'string') return null
  return /^"?[a-z_][a-z0-9_$]*$/.test(node) ? node.replace(/^"/, '') : null
}

/** `nodes` cut at every one of `words` that stands at this level. */
export function splitAt(nodes: readonly Node[], ...words: string[]): Node[][] {
  const parts: Node[][] = [[]]
  for (const node of nodes) {
    if (typeof node === 'string' && words.includes(node)) parts.push([])
    else parts.at(-1)?.push(node)
  }
  return parts
}

/** The clauses of a statement by their keywords, each up to the next; what stands before the first is under ''. */
export function clausesOf(nodes: readonly Node[], keywords: readonly string[]): Map<string, Node[]> {
  let current: Node[] = []
  const clauses = new Map([['', current]])
  nodes.forEach((node, i) => {
    // `is distinct from` compares; it names no table.
    const compares = node === 'from' && nodes[i - 1] === 'distinct' && i > 1 && nodes[i - 2] !== 'select'
    if (typeof node === 'string' && keywords.includes(node) && !compares) {
      // ON CONFLICT may have two WHERE; nothing that stands in either may go unread.
      current = clauses.get(node) ?? []
      clauses.set(node, current)
    } else current.push(node)
  })
  return clauses
}
