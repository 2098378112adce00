import * as z from 'zod'
import { EventId, EventTypeName } from '../../events/schema'
import { FilterField } from './schema'

const ofEvents = {
  type: EventTypeName.optional().meta({ description: 'Only events of this type.' }),
  limit: z
    .int()
    .min(1)
    .max(50, 'must be at most 50')
    .default(20)
    .meta({ description: 'How many of the last events to look at.' }),
}

export const TestFilter = z.strictObject({ filter: FilterField, ...ofEvents })

export const TestFilterOf = z.strictObject({
  filter: FilterField.nullable().optional().meta({ description: 'Tried instead of the endpoint’s own.' }),
  ...ofEvents,
})

export const FilterTested = z
  .object({
    looked_at: z.int().meta({ example: 1 }),
    passed: z.int().meta({ example: 0 }),
    events: z.array(
      z.object({
        id: EventId,
        type: z.string().meta({ example: 'order.shipped' }),
        timestamp: z.string().meta({ format: 'date-time' }),
        passes: z.boolean().meta({ example: false }),
        refused_by: z
          .enum(['application', 'event_types', 'channels', 'itself', 'filter', 'payload'])
          .nullable()
          .meta({
            description: 'The first that says no; `payload` where it is no longer kept.',
            example: 'filter',
          }),
        refused_at: z
          .string()
          .nullable()
          .meta({ description: 'The condition that says no.', example: 'filter.and.1' }),
      }),
    ),
  })
  .meta({ id: 'FilterTested' })

export type TestFilter = z.output<typeof TestFilter>
export type TestFilterOf = z.output<typeof TestFilterOf>
export type FilterTested = z.input<typeof FilterTested>
