import * as z from 'zod'
import { paging } from '../../../lib/wire'
import { EventTypeName } from '../schema'

const Data = z.record(z.string(), z.unknown(), 'must be a JSON object')

const Validation = z.enum(['off', 'warn', 'enforce'], 'must be off, warn or enforce').meta({
  description:
    'What becomes of an event whose data differs from the schema: nothing; it is taken and marked (`schema_error`); it is refused.',
})

const EXAMPLE = {
  type: 'object',
  properties: { order_id: { type: 'string' }, total: { type: 'number', minimum: 0 } },
  required: ['order_id'],
}

const fields = {
  description: z.string().max(1000, 'must have at most 1000 characters').meta({ example: 'An order left.' }),
  schema: Data.nullable().meta({
    description: 'JSON Schema (2020-12, 2019-09 or draft 7) of the data of its events; null for none.',
    example: EXAMPLE,
  }),
  validation: Validation,
  example: Data.nullable().meta({
    description: 'An example of the data; it is what a test delivery sends.',
    example: { order_id: 'A-1001', total: 12.5 },
  }),
  archived: z.boolean().meta({
    description: 'Left out of the list, unless `archived` asks for it. Its events are taken as before.',
  }),
}

export const CreateEventType = z.strictObject({
  name: EventTypeName,
  description: fields.description.default(''),
  schema: fields.schema.default(null),
  validation: Validation.default('off'),
  example: fields.example.default(null),
  archived: fields.archived.default(false),
})

export const UpdateEventType = z.strictObject(fields).partial()

export const ListEventTypes = {
  ...paging,
  built_in: z
    .enum(['true', 'false'], 'must be true or false')
    .optional()
    .meta({ description: 'The service’s own types, or the tenant’s.' }),
  archived: z
    .enum(['true', 'false'], 'must be true or false')
    .default('false')
    .meta({ description: 'Whether archived types are listed too.' }),
}

export const EventType = z
  .object({
    name: z.string().meta({ example: 'order.shipped' }),
    ...fields,
    built_in: z.boolean().meta({ description: 'Whether it is one that the service sends.' }),
    created_at: z.string().nullable().meta({ format: 'date-time' }),
    updated_at: z.string().nullable().meta({ format: 'date-time' }),
  })
  .meta({ id: 'EventType' })

export type CreateEventType = z.output<typeof CreateEventType>
export type UpdateEventType = z.output<typeof UpdateEventType>
export type ListEventTypes = z.output<z.ZodObject<typeof ListEventTypes>>
export type EventType = z.input<typeof EventType>
