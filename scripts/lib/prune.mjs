import { parseAst } from 'vitest/node'

/** Names that the runtime and the language call by themselves, the traps of proxies among them. */
const CALLED_BY_OTHERS = new Set([
  ...['constructor', 'then', 'catch', 'finally', 'next', 'return', 'throw', 'toString', 'toJSON', 'valueOf'],
  ...['get', 'set', 'has', 'deleteProperty', 'ownKeys', 'getOwnPropertyDescriptor', 'defineProperty'],
  ...['apply', 'construct', 'getPrototypeOf', 'setPrototypeOf', 'isExtensible', 'preventExtensions'],
])

/**
 * A bundle without the methods of packages that nothing in it names: a class keeps all of its methods otherwise, and with
 * them whatever they use. Lines stay where they are.
 */
export function prune(bundle) {
  for (let text = bundle; ; ) {
    const shorter = pruneOnce(text)
    if (shorter === text) return text
    text = shorter
  }
}

function pruneOnce(text) {
  const { body } = parseAst(text, { lang: 'js' }, 'bundle.js')
  const packaged = packagesIn(text)
  const nodes = nodesIn(body)
  const names = namesIn(nodes, packaged)
  const unnamed = (name) => !names.read.has(name) && !names.quoted.has(name) && !CALLED_BY_OTHERS.has(name)
  const namespaces = namespacesIn(nodes)
  const uncalled = (name) => !names.called.has(name) && !names.built.has(name) && !CALLED_BY_OTHERS.has(name)
  const cuts = []
  for (const { node } of nodes) {
    if (!packaged(node.start)) continue
    if (isMethod(node) && unnamed(node.key.name)) cuts.push(node)
    if (isUnreadFunction(node, unnamed)) cuts.push(node)
    for (const member of membersOfConstructor(node)) if (uncalled(member.key.name)) cuts.push(member)
    cuts.push(...unreadExports(node, namespaces))
  }
  return without(text, cuts)
}

const isMethod = ({ type, computed, kind, key }) =>
  type === 'MethodDefinition' && !computed && kind !== 'constructor' && key.type === 'Identifier'

/** Whether a place in the bundle is a package's; esbuild writes above each module where it is from. */
function packagesIn(text) {
  const starts = [...text.matchAll(/^\/\/ (\S+\.[cm]?[jt]s(?:on)?)$/gm)]
  return (place) => {
    let [low, high] = [0, starts.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (starts[middle].index <= place) low = middle + 1
      else high = middle
    }
    return starts[low - 1]?.[1].includes('node_modules/') ?? false
  }
}

/** What is named: read as a member, called as one, quoted, or in code that a package makes from text. */
function namesIn(nodes, packaged) {
  const names = { read: new Set(), called: new Set(), quoted: new Set(), built: new Set() }
  for (const { node, within } of nodes) {
    const { type } = node
    if (type === 'AssignmentExpression' && isFunction(node.right)) node.left.written = true
    if (type === 'MemberExpression' && !node.computed && !node.written) {
      const { name } = node.property
      // A method that only calls itself is not called.
      if (!within.has(name)) names.read.add(name)
      // Packages may hand a method on; what the service itself reads under a method's name is a column, most times.
      if (packaged(node.start)) names.called.add(name)
    }
    if (type === 'CallExpression' && node.callee.type === 'MemberExpression')
      names.called.add(node.callee.property.name)
    if (type === 'ObjectPattern')
      for (const { key } of node.properties) if (key) names.read.add(key.name ?? key.value)
    if (type === 'Literal' && typeof node.value === 'string') names.quoted.add(node.value)
    if (type === 'TemplateElement')
      for (const word of node.value.raw.match(/\w+/g) ?? []) {
        names.quoted.add(word)
        if (packaged(node.start)) names.built.add(word)
      }
  }
  return names
}

const isFunction = ({ type }) => type === 'ArrowFunctionExpression' || type === 'FunctionExpression'

/** `inst._zod.name = () => …` that nobody reads. */
const isUnreadFunction = (node, unnamed) =>
  node.type === 'ExpressionStatement' &&
  node.expression.type === 'AssignmentExpression' &&
  node.expression.operator === '=' &&
  node.expression.left.type === 'MemberExpression' &&
  !node.expression.left.computed &&
  isFunction(node.expression.right) &&
  unnamed(node.expression.left.property.name)

/** The methods that zod gives a kind of schema: `$constructor(name, init, { … })`. */
function membersOfConstructor({ type, callee, arguments: given }) {
  if (type !== 'CallExpression' || callee.name !== '$constructor') return []
  const last = given[2]?.type === 'CallExpression' ? given[2].arguments[1] : given[2]
  return last?.type === 'ObjectExpression' ? last.properties.filter((member) => member.method) : []
}

/** By the name of a variable: how often it stands anywhere, and what is read of it by name. */
function namespacesIn(nodes) {
  const found = new Map()
  const of = (name) => {
    if (!found.has(name)) found.set(name, { times: 0, reads: 0, members: new Set() })
    return found.get(name)
  }
  for (const { node } of nodes) {
    if (node.type === 'Identifier') of(node.name).times++
    if (node.type !== 'MemberExpression' || node.computed || node.object.type !== 'Identifier') continue
    const namespace = of(node.object.name)
    namespace.reads++
    namespace.members.add(node.property.name)
  }
  return found
}

/**
 * Of `import * as name` that esbuild makes an object of, `__export(name, { … })`: what is not read, where nothing else is
 * done with it than to read members by name.
 */
function unreadExports({ type, callee, arguments: given }, namespaces) {
  if (type !== 'CallExpression' || callee.name !== '__export') return []
  const { times, reads, members } = namespaces.get(given[0].name)
  // Besides being read it is declared, and stands here.
  if (times !== reads + 2) return []
  return given[1].properties.filter((member) => !members.has(member.key.name ?? member.key.value))
}

/** Every node, and the names of the methods that it is in. */
function nodesIn(node, within = new Set(), found = []) {
  if (Array.isArray(node)) for (const one of node) nodesIn(one, within, found)
  else if (typeof node?.type === 'string') {
    found.push({ node, within })
    const inside = isMethod(node) ? new Set([...within, node.key.name]) : within
    for (const name in node) if (typeof node[name] === 'object') nodesIn(node[name], inside, found)
  }
  return found
}

function without(text, cuts) {
  let [rest, at] = ['', 0]
  for (const { start, end } of cuts.sort((a, b) => a.start - b.start)) {
    if (start < at) continue
    const comma = /^\s*,/.exec(text.slice(end))?.[0].length ?? 0
    rest += text.slice(at, start) + text.slice(start, end + comma).replace(/[^\n]/g, '')
    at = end + comma
  }
  return rest + text.slice(at)
}
