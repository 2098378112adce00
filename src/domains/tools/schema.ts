import * as z from 'zod'
import { sizeOf } from '../../lib/json-size'
import { createdBetween, Id, paging } from '../../lib/wire'
import { refusalOfToolHeader } from './headers'
import { refusalOfForm } from './url'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const MOST_HEADERS = 20
/** Of arguments as JSON. */
const MAX_ARGUMENTS = 64 * 1024

const Name = z
  .string('must be a text')
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 of the characters A-Z a-z 0-9 _ -')
  .meta({
    description: 'What models call it by; one of the tenant’s tools has it.',
    example: 'look_up_order',
  })

const Url = z
  .string('must be an absolute https URL')
  .max(2048, 'must have at most 2048 characters')
  .superRefine((url, issue) => {
    const message = refusalOfForm(url)
    if (message !== null) issue.addIssue({ code: 'custom', message })
  })
  .meta({
    description: 'An argument’s place in its path or query is written as `{name}`.',
    example: 'https://api.example.com/orders/{order_id}',
  })

const Headers = z
  .record(z.string(), z.string('must be a text'), 'must be an object of texts')
  .superRefine((headers, issue) => {
    const names = Object.keys(headers)
    if (names.length > MOST_HEADERS)
      issue.addIssue({ code: 'custom', message: `must have at most ${MOST_HEADERS} headers` })
    const seen = new Set<string>()
    for (const [name, value] of Object.entries(headers)) {
      const message = seen.has(name.toLowerCase()) ? 'is given twice' : refusalOfToolHeader(name, value)
      if (message !== null) issue.addIssue({ code: 'custom', path: [name], message })
      seen.add(name.toLowerCase())
    }
  })
  .meta({
    description: 'Sent with each call; `{{secrets.name}}` stands for a secret, which needs `secrets:use`.',
    example: { Authorization: 'Bearer {{secrets.orders}}' },
  })

const PARAMETERS = {
  type: 'object',
  properties: {
    order_id: { type: 'string', description: 'As it is printed on the invoice, such as A-1001.' },
  },
  required: ['order_id'],
  additionalProperties: false,
}

const Parameters = z.record(z.string(), z.unknown(), 'must be a JSON Schema: an object').meta({
  description:
    'JSON Schema (2020-12, 2019-09 or draft 7) of the arguments, of the type `object`. Those that stand in the URL go there; the others go into the query of GET and DELETE, and into a body of JSON of the other methods.',
  example: PARAMETERS,
})

const LOOK_UP = {
  name: 'look_up_order',
  description: 'Says where an order is. Call it whenever somebody asks for one.',
  method: 'GET',
  url: 'https://api.example.com/orders/{order_id}',
  parameters: PARAMETERS,
}

const fields = {
  name: Name,
  description: z.string('must be a text').max(1024, 'must have at most 1,024 characters').meta({
    description: 'Tells models what it does and when to call it.',
    example: 'Says where an order is. Call it whenever somebody asks for one.',
  }),
  url: Url,
  method: z.enum(METHODS, 'must be GET, POST, PUT, PATCH or DELETE').meta({ example: 'GET' }),
  headers: Headers,
  parameters: Parameters,
}

export const CreateTool = z
  .strictObject({
    ...fields,
    description: fields.description.default(''),
    method: fields.method.default('POST'),
    headers: Headers.default({}),
    parameters: Parameters.default({ type: 'object', properties: {} }),
  })
  .meta({ examples: [LOOK_UP] })
export type CreateTool = z.output<typeof CreateTool>

export const UpdateTool = z
  .strictObject(fields)
  .partial()
  .meta({ examples: [{ description: 'Says where an order is.' }] })
export type UpdateTool = z.output<typeof UpdateTool>

export const ListTools = {
  ...paging,
  ...createdBetween,
  name: Name.optional().meta({ description: 'Only the tool of this name.' }),
}
export type ListTools = z.output<z.ZodObject<typeof ListTools>>

export const Tool = z
  .object({
    id: Id,
    tenant_id: Id,
    name: z.string().meta({ example: 'look_up_order' }),
    description: z.string(),
    url: z.string().meta({ example: 'https://api.example.com/orders/{order_id}' }),
    method: z.enum(METHODS),
    headers: z
      .record(z.string(), z.string())
      .meta({ example: { Authorization: 'Bearer {{secrets.orders}}' } }),
    parameters: z.record(z.string(), z.unknown()).meta({ example: PARAMETERS }),
    created_by: z.string().nullable().meta({ description: 'The user who made it.' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Tool' })

export const Arguments = z
  .record(z.string(), z.unknown(), 'must be a JSON object')
  .refine(
    (given) => sizeOf(given) <= MAX_ARGUMENTS,
    'must have at most 64 KiB as JSON, nested 32 deep at most',
  )

export const TestTool = z.strictObject({
  arguments: Arguments.default({}).meta({ example: { order_id: 'A-1001' } }),
})
export type TestTool = z.output<typeof TestTool>

/** What came of a call: the tool's answer, or why there is none. */
export const ToolResult = z
  .object({
    ok: z.boolean().meta({ description: 'Whether it was answered with 2xx.' }),
    status: z
      .int()
      .nullable()
      .meta({ description: 'Null where there was no complete answer.', example: 200 }),
    output: z.unknown().meta({
      description: 'The answer’s JSON, or its text; null where the call failed.',
      example: { status: 'shipped' },
    }),
    error: z.string().nullable().meta({ description: 'Why it failed, as a model is told.', example: null }),
    duration_ms: z.int().meta({ example: 42 }),
  })
  .meta({ id: 'ToolResult' })
export type ToolResult = z.output<typeof ToolResult>
