import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { fieldErrors } from '../../src/lib/fields'
import { OPERATIONS } from '../contract/operations'

// What is wrong with a field is said in the service's own words, whichever it is and whatever is sent.

const LONG = 'x'.repeat(70_000)
const WRONG = [
  ...[undefined, null, true, 1, 1.5, -1e9, 1e15, '', ' ', 'x', '\u0000', LONG],
  ...[[], [null], [1], ['x'], [{}], Array.from({ length: 2_000 }, () => 'x'), {}, { x: 1 }, { x: { y: [] } }],
]

type Described = {
  type?: string
  properties?: Record<string, Described>
  items?: Described
  additionalProperties?: Described | boolean
  anyOf?: Described[]
  oneOf?: Described[]
  allOf?: Described[]
  $ref?: string
  const?: unknown
  $defs?: Record<string, Described>
}

/** The values that a field may be put to, each with all else as it was; as deep as objects and lists go. */
function* altered(
  schema: Described,
  value: unknown,
  defs: Described['$defs'],
  depth = 0,
): Generator<unknown> {
  // A request has some body, or it is told that it has none.
  yield* depth === 0 ? WRONG.slice(1) : WRONG
  const of = schema.$ref ? (defs?.[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : schema
  if (depth > 3) return
  for (const branch of [...(of.anyOf ?? []), ...(of.oneOf ?? []), ...(of.allOf ?? [])])
    for (const one of altered(branch, value, defs, depth + 1)) yield one
  if (of.properties) {
    // What a branch is told by stands, so that its other fields are looked at.
    const marks = Object.entries(of.properties).flatMap(([name, property]) =>
      'const' in property ? [[name, property.const]] : [],
    )
    const base = { ...(isObject(value) ? value : {}), ...Object.fromEntries(marks) }
    for (const [name, property] of Object.entries(of.properties))
      for (const one of altered(property, base[name], defs, depth + 1)) yield { ...base, [name]: one }
  }
  if (of.items) for (const one of altered(of.items, undefined, defs, depth + 1)) yield [one]
  if (typeof of.additionalProperties === 'object')
    for (const one of altered(of.additionalProperties, undefined, defs, depth + 1))
      yield { name: one, '': one }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

async function messages(schema: z.ZodType, value: unknown): Promise<string[]> {
  const { error } = await schema.safeParseAsync(value)
  return error ? Object.values(fieldErrors(error.issues)) : []
}

describe('what is wrong is said in words of ours', { timeout: 60_000 }, () => {
  for (const { name, note, body } of OPERATIONS)
    it(name, async () => {
      const said = new Set<string>()
      const schemas = [note.params, note.query, note.body?.schema, note.body?.or?.schema]
      for (const schema of schemas) {
        if (!schema) continue
        const shown = z.toJSONSchema(schema, {
          io: 'input',
          unrepresentable: 'any',
          cycles: 'ref',
        }) as Described
        for (const value of altered(shown, body?.example, shown.$defs))
          for (const message of await messages(schema, value)) said.add(message)
      }
      const foreign = [...said].filter((message) =>
        /invalid|too (?:big|small)|unrecognized|expected|received|undefined|\bNaN\b|\bZod/i.test(message),
      )
      expect(foreign).toEqual([])
      expect([...said].filter((message) => !/^[a-z]/.test(message))).toEqual([])
    })

  it('of every kind of schema that there is', async () => {
    const of = async (schema: z.ZodType, value: unknown) => (await messages(schema, value))[0]
    for (const [schema, value, words] of [
      [z.string(), 1, 'must be a string'],
      [z.strictObject({ name: z.string() }), {}, 'is required'],
      [z.strictObject({ name: z.enum(['a', 'b']) }), {}, 'is required'],
      [z.strictObject({ name: z.string() }), [], 'must be an object'],
      [z.strictObject({}), { other: 1 }, 'is not a known field'],
      [z.int(), 1.5, 'must be a whole number'],
      [z.number(), Number.NaN, 'must be a number'],
      [z.boolean(), 'yes', 'must be true or false'],
      [z.array(z.string()), {}, 'must be a list'],
      [z.union([z.string(), z.array(z.string())]), 1, 'must be a string or a list'],
      [z.enum(['a', 'b']), 'c', 'must be one of a, b'],
      [z.literal('a'), 'c', 'must be a'],
      [z.string().min(1), '', 'must not be empty'],
      [z.string().min(2), '', 'must have at least 2 characters'],
      [z.string().max(1), 'ab', 'must have at most 1 character'],
      [z.string().length(3), 'ab', 'must have exactly 3 characters'],
      [z.array(z.string()).min(1), [], 'must not be empty'],
      [z.array(z.string()).max(1), ['a', 'b'], 'must have at most 1 item'],
      [z.number().min(1), 0, 'must be at least 1'],
      [z.number().max(1), 2, 'must be at most 1'],
      [z.number().gt(1), 1, 'must be more than 1'],
      [z.number().lt(1), 1, 'must be less than 1'],
      [z.number().multipleOf(5), 7, 'must be a multiple of 5'],
      [z.email(), 'x', 'must be an email address like ada@example.com'],
      [z.url(), 'x', 'must be a URL like https://example.com'],
      [z.iso.datetime(), 'x', 'must be a time like 2026-01-31T10:00:00.000Z'],
      [z.e164(), 'x', 'must be a phone number like +14155550123'],
      [z.string().regex(/^a+$/), 'x', 'must match /^a+$/'],
      [z.string().startsWith('wh'), 'x', 'must begin with wh'],
      [z.string().endsWith('wh'), 'x', 'must end with wh'],
      [z.string().includes('wh'), 'x', 'must contain wh'],
      [z.record(z.string().regex(/^a$/), z.string()), { b: 'x' }, 'has a name that is not allowed'],
      [z.discriminatedUnion('kind', [z.object({ kind: z.literal('a') })]), { kind: 'b' }, 'must be one of a'],
      [z.string().refine(() => false), 'x', 'is not allowed'],
    ] as const)
      expect(await of(schema, value)).toBe(words)
  })
})
