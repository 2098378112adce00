import * as z from 'zod'
import { utf8 } from '../../../lib/encoding'
import { Phone } from '../../../lib/phone'
import { isTimeZone, timeZoneNamed } from '../../../lib/time-zones'
import { createdBetween, Id, paging, Time } from '../../../lib/wire'
import { DAYS } from './hours'
import { CAMPAIGN_STATUSES, CONTACT_STATUSES, PAUSE_REASONS } from './table'

const Name = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .refine((text) => !/\p{Cc}/u.test(text), 'must have no control characters')

/** The time zone of a schedule, or of somebody's telephone. */
const TimeZone = z
  .string()
  .trim()
  .max(64, 'must have at most 64 characters')
  .refine(isTimeZone, 'must be the name of a time zone, such as Europe/Berlin')
  .overwrite((name) => timeZoneNamed(name) ?? name)
  .meta({ example: 'America/New_York' })

export const CreateCampaign = z.strictObject({
  name: Name.meta({ example: 'Renewals in May' }),
  agent_id: Id.meta({ description: 'Who calls: an active agent.' }),
  from: Phone.optional().meta({ description: 'Whose number is shown; left out, the one that calls have.' }),
})
export type CreateCampaign = z.output<typeof CreateCampaign>

export const UpdateCampaign = z
  .strictObject({ name: Name, agent_id: Id, from: Phone.nullable() })
  .partial()
  .meta({ example: { name: 'Renewals in May and June' } })
export type UpdateCampaign = z.output<typeof UpdateCampaign>

const CLOCK = 'must be a time of day from 00:00 to 23:59'
const Clock = z.string(CLOCK)

export const CallingHours = z
  .strictObject({
    from: Clock.regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, CLOCK).meta({ example: '09:00' }),
    to: Clock.regex(
      /^(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)$/,
      'must be a time of day from 00:00 to 24:00',
    ).meta({
      example: '17:30',
      description: 'Until before then; where it is before `from`, on the next day.',
    }),
    days: z
      .array(z.enum(DAYS, `must be one of ${DAYS.join(', ')}`))
      .min(1, 'must name at least one day')
      .max(7, 'must name each day once')
      .refine((days) => new Set(days).size === days.length, 'must name each day once')
      .default([...DAYS])
      .meta({ description: 'On which they begin; every day where they are left out.' }),
  })
  .refine(({ from, to }) => from !== to, {
    path: ['to'],
    message: 'must differ from `from`; for the whole day, say 00:00 and 24:00',
  })

/** Of calls a minute: 100 a second. */
const MOST_A_MINUTE = 6_000
const whole = (least: number, most: number) => {
  const must = `must be a whole number from ${least} to ${most}`
  return z.int(must).min(least, must).max(most, must)
}

export const ScheduleCampaign = z
  .strictObject({
    start_at: Time.meta({ description: 'No call is placed before; where that is past, they are at once.' }),
    end_at: Time.nullable()
      .default(null)
      .meta({ description: 'No call is placed from then on, whoever was not called.' }),
    timezone: TimeZone.meta({
      description: 'Of the calling hours, for contacts that have none of their own.',
    }),
    calling_hours: CallingHours.meta({ description: 'When somebody may be called, by their own clock.' }),
    calls_per_minute: whole(1, MOST_A_MINUTE).meta({ description: 'No more than so many are placed.' }),
    retries: whole(0, 10)
      .default(0)
      .meta({ description: 'How often one who did not answer is called again.' }),
    retry_delay_minutes: whole(0, 10_080).default(60).meta({ description: 'And how much later, at least.' }),
  })
  .refine(({ start_at, end_at }) => end_at === null || end_at > start_at, {
    path: ['end_at'],
    message: 'must be later than start_at',
  })
  .meta({
    example: {
      start_at: '2030-05-06T07:00:00.000Z',
      timezone: 'Europe/Berlin',
      calling_hours: { from: '09:00', to: '17:30', days: ['mon', 'tue', 'wed', 'thu', 'fri'] },
      calls_per_minute: 30,
      retries: 2,
    },
  })
export type ScheduleCampaign = z.output<typeof ScheduleCampaign>

const count = (description: string) => z.int().min(0).meta({ description })
const date = () => z.string().meta({ format: 'date-time' })

const CampaignStatus = z.enum(
  CAMPAIGN_STATUSES,
  'must be draft, scheduled, running, paused, completed or cancelled',
)

/** How many contacts there are, and of each status. */
export const ContactCounts = z.object({
  total: count('All of them.'),
  pending: count('To be called, or called again.'),
  calling: count('Whose call is under way.'),
  completed: count('Who answered.'),
  no_answer: count('Who did not, however often they were called.'),
  failed: count('Whose call failed.'),
})

export const Campaign = z
  .object({
    id: Id,
    name: z.string(),
    agent_id: Id,
    from: z.string().nullable(),
    status: CampaignStatus,
    paused_reason: z.enum(PAUSE_REASONS).nullable(),
    schedule: z
      .object({
        ...{ start_at: date(), end_at: date().nullable(), timezone: z.string() },
        calling_hours: z.object({ from: z.string(), to: z.string(), days: z.array(z.string()) }),
        ...{ calls_per_minute: z.int(), retries: z.int(), retry_delay_minutes: z.int() },
      })
      .nullable(),
    job_id: Id.nullable().meta({
      description: 'The job that runs it; the channel `jobs:{job_id}` says how it stands.',
    }),
    contacts: ContactCounts,
    started_at: date().nullable(),
    completed_at: date().nullable(),
    created_at: date(),
    updated_at: date(),
  })
  .meta({ id: 'Campaign' })

export const ListCampaigns = {
  ...paging,
  status: CampaignStatus.optional(),
  agent_id: Id.optional(),
  ...createdBetween,
}
export type ListCampaigns = z.output<z.ZodObject<typeof ListCampaigns>>

const MOST_METADATA = 4 * 1024

/** What is known of a contact besides; it goes along with its calls. */
export const fitsMetadata = (metadata: Record<string, unknown>): boolean =>
  utf8(JSON.stringify(metadata)).byteLength <= MOST_METADATA
export const METADATA_FITS = `must be at most ${MOST_METADATA} bytes of JSON`

export const NewContact = z.strictObject({
  phone: Phone,
  name: Name.nullish(),
  timezone: TimeZone.nullish().meta({ description: 'Where it is called; left out, the schedule’s.' }),
  metadata: z
    .record(
      z.string().min(1, 'must have a name').max(100, 'must have a name of at most 100 characters'),
      z.json(),
    )
    .refine(fitsMetadata, METADATA_FITS)
    .default({})
    .meta({ example: { plan: 'Gold' } }),
})
export type NewContact = z.output<typeof NewContact>

/** Contacts, or a file that was uploaded and has them. */
export const AddContacts = z.strictObject({
  contacts: z.array(NewContact).optional().meta({ description: 'As a list by itself, they need no name.' }),
  file_id: Id.optional().meta({
    description: 'A file of yours whose upload is complete: CSV, as the body may be.',
  }),
})

/** The same, of which the contacts are looked at one by one. */
export const Given = z
  .strictObject({
    contacts: z.array(z.unknown(), 'must be a list of contacts').optional(),
    file_id: Id.optional(),
  })
  .refine(({ contacts, file_id }) => (contacts === undefined) !== (file_id === undefined), {
    path: ['contacts'],
    message: 'must be given, or file_id, and not both',
  })

export const Contact = z
  .object({
    id: Id,
    phone: z.string().meta({ example: '+14155550123' }),
    name: z.string().nullable(),
    timezone: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()),
    status: z.enum(CONTACT_STATUSES),
    attempts: z.int().meta({ description: 'Calls that were placed.' }),
    call_id: Id.nullable().meta({ description: 'The last of them.' }),
    ended_reason: z.string().nullable().meta({ description: 'How that one ended.' }),
    next_at: date().nullable().meta({ description: 'From when on it may be called, within calling hours.' }),
    created_at: date(),
    updated_at: date(),
  })
  .meta({ id: 'CampaignContact' })

export const ListContacts = {
  ...paging,
  status: z.enum(CONTACT_STATUSES, 'must be pending, calling, completed, no_answer or failed').optional(),
  phone: Phone.optional().meta({ description: 'That one; write the plus as %2B.' }),
}
export type ListContacts = z.output<z.ZodObject<typeof ListContacts>>

/** What is wrong with one line. */
export const LineError = z.object({
  line: z.int().meta({ description: 'Counted from 1; of a list, which of its contacts.' }),
  phone: z.string().nullable(),
  fields: z.record(z.string(), z.string()).meta({ example: { timezone: 'must be the name of a time zone' } }),
})
export type LineError = z.output<typeof LineError>

export const Imported = z
  .object({
    lines: count('Contacts that were sent, good or not.'),
    created: count('That are new.'),
    merged: count('That were there, or stood there before, by their number.'),
    failed: count('That were refused.'),
    errors: z
      .array(LineError)
      .meta({ description: 'Of those that were refused, the first 1,000, or as many as 256 KiB say.' }),
  })
  .meta({ id: 'ImportedContacts' })
export type Imported = z.output<typeof Imported>
