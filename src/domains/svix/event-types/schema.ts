import * as z from 'zod'
import { Flag, ordering } from '../wire'

/** What Svix takes for a name; longer ones and other characters are refused. */
export const TypeName = z
  .string('must be a string')
  .regex(/^[A-Za-z0-9_.-]{1,128}$/, 'must be 1 to 128 of the characters A-Z a-z 0-9 - _ .')
  .meta({ example: 'user.signup' })

const Description = z.string('must be a string').max(1000, 'must have at most 1000 characters')
const Schemas = z.record(z.string(), z.unknown(), 'must be an object of schemas by version')
const Label = z.string('must be a string').max(256, 'must have at most 256 characters')

const fields = {
  description: Description.meta({ example: 'A user has signed up' }),
  archived: z.boolean('must be a boolean'),
  deprecated: z.boolean('must be a boolean'),
  schemas: Schemas.nullable().meta({
    description:
      'JSON Schemas by version. They are kept and shown; what is sent is held against none of them.',
    example: { '1': { type: 'object', properties: { email: { type: 'string' } } } },
  }),
  groupName: Label.nullable(),
  featureFlags: z.array(Label).max(20, 'must have at most 20').nullable(),
}

const optional = {
  archived: fields.archived.default(false),
  deprecated: fields.deprecated.default(false),
  schemas: fields.schemas.default(null),
  groupName: fields.groupName.default(null),
  featureFlags: fields.featureFlags.default(null),
}

export const EventTypePut = z.object({ description: fields.description, ...optional })
export const EventTypeIn = EventTypePut.extend({ name: TypeName })
export const EventTypePatch = z.object(fields).partial()

export const ListEventTypes = { ...ordering, include_archived: Flag(false), with_content: Flag(false) }

export const EventTypeOut = z
  .object({
    name: z.string().meta({ example: 'user.signup' }),
    ...fields,
    createdAt: z.string().meta({ format: 'date-time' }),
    updatedAt: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'SvixEventType' })

export type EventTypePut = z.output<typeof EventTypePut>
export type EventTypeIn = z.output<typeof EventTypeIn>
export type EventTypePatch = z.output<typeof EventTypePatch>
