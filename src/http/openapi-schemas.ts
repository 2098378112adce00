import * as z from 'zod'

/** A JSON Schema (2020-12) as OpenAPI 3.1 takes it. */
export type JsonSchema = { [keyword: string]: unknown }

/** What a caller sends, or what an answer holds: a default makes a field optional in the one and certain in the other. */
type Direction = 'input' | 'output'

const REFERENCE = '#/components/schemas/'

/**
 * Turns zod schemas into JSON Schemas; those that carry `.meta({ id })` become components. One that reads differently
 * in a body than in an answer becomes two, and the body's is called `…Input`.
 */
export class Schemas {
  private readonly found = { input: new Map<string, JsonSchema>(), output: new Map<string, JsonSchema>() }

  /** The schema with references that `resolve` settles once all are known. */
  of(schema: z.ZodType, direction: Direction): JsonSchema {
    const json = z.toJSONSchema(schema, {
      io: direction,
      unrepresentable: 'any',
      override: ({ jsonSchema }) => tidy(jsonSchema as JsonSchema, direction),
    }) as JsonSchema
    const { $schema: _, $defs, ...own } = withoutUnnamed(json)
    const definitions = pointAtComponents(($defs ?? {}) as Record<string, JsonSchema>, direction)
    for (const [name, definition] of Object.entries(definitions)) {
      const known = this.found[direction].get(name)
      if (known && JSON.stringify(known) !== JSON.stringify(definition))
        throw new Error(`two schemas have the id ${name}`)
      this.found[direction].set(name, definition)
    }
    return pointAtComponents(own, direction)
  }

  /** The components, and a function that puts their final names into whatever `of` answered. */
  resolve(): { components: Record<string, JsonSchema>; rename: <T>(value: T) => T } {
    const split = this.twoFaced()
    const rename = <T>(value: T): T =>
      JSON.parse(
        JSON.stringify(value).replace(
          /"#\/components\/schemas\/([^"~]+)~(input|output)"/g,
          (_, name: string, direction: Direction) =>
            JSON.stringify(REFERENCE + finalName(split, name, direction)),
        ),
      )
    const components: Record<string, JsonSchema> = {}
    for (const direction of ['output', 'input'] as const)
      for (const [name, definition] of this.found[direction])
        components[finalName(split, name, direction)] ??= rename(definition)
    return { components, rename }
  }

  /** Names whose two directions differ, in themselves or in what they refer to. */
  private twoFaced(): Set<string> {
    const split = new Set<string>()
    const both = [...this.found.input.keys()].filter((name) => this.found.output.has(name))
    const text = (direction: Direction, name: string) => JSON.stringify(this.found[direction].get(name))
    const neutral = (json: string) => json.replaceAll('~input"', '"').replaceAll('~output"', '"')
    for (let size = -1; size !== split.size; ) {
      size = split.size
      for (const name of both) {
        const input = text('input', name)
        const refers = [...split].some((other) => input.includes(`"${REFERENCE}${other}~input"`))
        if (refers || neutral(input) !== neutral(text('output', name))) split.add(name)
      }
    }
    return split
  }
}

/** How zod spells `z.json()`, its own name replaced. JSON Schema has a shorter word for any value: `{}`. */
const ANY_JSON = JSON.stringify({
  anyOf: [
    ...['string', 'number', 'boolean', 'null'].map((type) => ({ type })),
    { type: 'array', items: { $ref: '~' } },
    { type: 'object', additionalProperties: { $ref: '~' } },
  ],
})

/** Zod numbers recursive schemas that have no id anew in each conversion; only `z.json()` may do without one. */
function withoutUnnamed(json: JsonSchema): JsonSchema {
  const $defs = { ...(json.$defs as Record<string, JsonSchema>) }
  let text = JSON.stringify(json)
  for (const [name, definition] of Object.entries($defs)) {
    if (!name.startsWith('__schema')) continue
    const reference = `"#/$defs/${name}"`
    if (JSON.stringify(definition).replaceAll(reference, '"~"') !== ANY_JSON)
      throw new Error('a recursive schema needs a .meta({ id })')
    text = text.replaceAll(`"$ref":${reference}`, '')
  }
  const inlined = JSON.parse(text) as JsonSchema & { $defs?: Record<string, JsonSchema> }
  for (const name of Object.keys($defs)) if (name.startsWith('__schema')) delete inlined.$defs?.[name]
  return inlined
}

const finalName = (split: Set<string>, name: string, direction: Direction) =>
  direction === 'input' && split.has(name) ? `${name}Input` : name

const pointAtComponents = <T>(value: T, direction: Direction): T =>
  JSON.parse(JSON.stringify(value).replace(/"#\/\$defs\/([^"]+)"/g, `"${REFERENCE}$1~${direction}"`))

function tidy(schema: JsonSchema, direction: Direction): void {
  if (schema.example !== undefined) {
    schema.examples = [schema.example]
    delete schema.example
  }
  // A transform hides the type of what it makes; every format there is belongs to strings.
  if (schema.format !== undefined) schema.type ??= 'string'
  // The format says it; zod's patterns for dates and ids fill a screen each.
  if (schema.format !== undefined) delete schema.pattern
  if (JSON.stringify(schema.propertyNames) === '{"type":"string"}') delete schema.propertyNames
  // An answer may gain fields without a new version of the API: readers skip what they don't know.
  if (direction === 'output' && schema.additionalProperties === false) delete schema.additionalProperties
}
