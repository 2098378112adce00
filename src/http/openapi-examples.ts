import type { JsonSchema } from './openapi-schemas'

const OF_FORMAT: Record<string, string> = {
  uuid: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
  'date-time': '2026-01-31T10:00:00.000Z',
  date: '2026-01-31',
  email: 'ada@example.com',
  uri: 'https://example.com/',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
}

/** What stands in a field that its schema gives no example for. */
const OF_NAME: Record<string, string> = {
  name: 'Example',
  title: 'Example',
  description: 'An example',
  slug: 'acme',
  email: 'ada@example.com',
  full_name: 'Ada Lovelace',
  password: 'correct horse battery',
  text: 'Hello there',
  content: 'Hello there',
  url: 'https://example.com/',
  message: 'Hello there',
}

/** What a field's name tells of its form where the schema does not. */
const OF_SUFFIX: [RegExp, string | undefined][] = [
  [/(?:_at|^ts|^timestamp)$/, OF_FORMAT['date-time']],
  [/(?:^|_)id$/, OF_FORMAT.uuid],
  [/(?:^|_)url$/, OF_FORMAT.uri],
]

/** An example of `schema`: its own, or one made from its keywords. Optional fields of a body stay out unless they show one. */
export function exampleOf(
  schema: JsonSchema,
  components: Record<string, JsonSchema>,
  forBody: boolean,
  name = '',
  depth = 0,
): unknown {
  const inner = (part: unknown, partName = name) =>
    exampleOf(part as JsonSchema, components, forBody, partName, depth + 1)
  if (typeof schema.$ref === 'string') {
    const target = components[schema.$ref.slice('#/components/schemas/'.length)]
    return target && depth < 12 ? inner(target) : null
  }
  const examples = schema.examples
  if (Array.isArray(examples) && examples.length > 0) return examples[0]
  for (const keyword of ['const', 'default'] as const)
    if (schema[keyword] !== undefined) return schema[keyword]
  if (Array.isArray(schema.enum)) return schema.enum[0]
  const branches = schema.anyOf ?? schema.oneOf
  if (Array.isArray(branches)) return inner(branches.find((branch) => branch.type !== 'null') ?? branches[0])
  if (Array.isArray(schema.allOf)) return Object.assign({}, ...schema.allOf.map((part) => inner(part)))
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== 'null') : schema.type
  if (type === 'object') return objectExample(schema, forBody, inner)
  if (type === 'array') return schema.items ? [inner(schema.items)] : []
  if (type === 'string') return stringExample(schema, name)
  if (type === 'integer' || type === 'number') return numberExample(schema)
  if (type === 'boolean') return true
  return type === 'null' ? null : {}
}

function objectExample(
  schema: JsonSchema,
  forBody: boolean,
  inner: (part: unknown, name: string) => unknown,
): Record<string, unknown> {
  const required = (schema.required ?? []) as string[]
  const fields = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>)
  // An optional id would have to be one that exists.
  const shown = fields.filter(
    ([key, field]) =>
      !forBody || required.includes(key) || (field.examples !== undefined && field.format !== 'uuid'),
  )
  return Object.fromEntries(shown.map(([key, field]) => [key, inner(field, key)]))
}

function stringExample(schema: JsonSchema, name: string): string {
  const format = OF_FORMAT[String(schema.format)]
  if (format !== undefined) return format
  const least = Number(schema.minLength ?? 0)
  const most = Number(schema.maxLength ?? Number.POSITIVE_INFINITY)
  const pattern = typeof schema.pattern === 'string' ? new RegExp(schema.pattern, 'u') : /^/
  const bySuffix = OF_SUFFIX.find(([suffix]) => suffix.test(name))?.[1]
  const candidates = [
    OF_NAME[name] ?? bySuffix ?? 'example',
    'example',
    'a'.repeat(Math.max(least, 1)),
    '2026-01-31',
  ]
  const fits = (text: string) => text.length >= least && text.length <= most && pattern.test(text)
  return candidates.find(fits) ?? 'example'.padEnd(least, '-').slice(0, most)
}

function numberExample(schema: JsonSchema): number {
  const least = Number(schema.minimum ?? schema.exclusiveMinimum ?? Number.NEGATIVE_INFINITY)
  const most = Number(schema.maximum ?? Number.POSITIVE_INFINITY)
  return Math.min(Math.max(1, least), most)
}
