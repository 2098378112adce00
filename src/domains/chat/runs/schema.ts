import * as z from 'zod'
import { Id } from '../../../lib/wire'
import { MOST_TOKENS } from '../agents/upstreams/fields'

/** Events in one request: a model's words of some seconds. */
const MOST_EVENTS = 256

const MOST_WORDS = 1024
const short = (most: number) =>
  z.string().min(1, 'must not be empty').max(most, `must have at most ${most} characters`)

/** What is written before the next request comes must be whole characters. */
const Piece = z
  .string()
  .refine(
    (text) => text.isWellFormed(),
    'must not begin or end in half a surrogate pair; send the whole character',
  )

const Tokens = z.int().min(0).max(MOST_TOKENS).nullable().optional()

const Tool = z.strictObject({
  id: short(128).meta({ example: 'call_1' }),
  name: short(128).meta({ example: 'search' }),
  status: z.enum(['call', 'result', 'error'], 'must be call, result or error'),
  arguments: z
    .unknown()
    .optional()
    .meta({ example: { q: 'parcel 4711' } }),
  result: z.unknown().optional(),
})

const event = <T extends string, S extends z.ZodType>(type: T, data: S) =>
  z.strictObject({ type: z.literal(type), data })

export const RunEvent = z.discriminatedUnion(
  'type',
  [
    event('message', z.strictObject({ content: Piece })),
    event(
      'status',
      z.strictObject({
        description: short(MOST_WORDS),
        level: z.enum(['info', 'warning', 'error'], 'must be info, warning or error').default('info'),
      }),
    ),
    event('tool', Tool),
    event(
      'done',
      z.strictObject({
        finish: z.enum(['stop', 'length'], 'must be stop or length').default('stop'),
        usage: z.strictObject({ prompt_tokens: Tokens, completion_tokens: Tokens }).optional(),
      }),
    ),
    event('error', z.strictObject({ message: short(MOST_WORDS) })),
  ],
  'must be of the type message, status, tool, done or error',
)
export type RunEvent = z.output<typeof RunEvent>

export const RunEvents = z
  .strictObject({
    sequence: z.int('must be a whole number').min(1, 'must be at least 1').meta({
      description: 'The number of the first of these events; the run’s first has 1, and each the next.',
      example: 1,
    }),
    events: z
      .array(RunEvent)
      .min(1, 'must have at least one event')
      .max(MOST_EVENTS, `must have at most ${MOST_EVENTS} events`)
      .refine(endsOnce, 'must have nothing after done or error'),
  })
  .meta({
    examples: [
      {
        sequence: 1,
        events: [
          { type: 'status', data: { description: 'Looking it up…', level: 'info' } },
          { type: 'message', data: { content: 'Your parcel ' } },
        ],
      },
    ],
  })
export type RunEvents = z.output<typeof RunEvents>

function endsOnce(events: readonly { type: string }[]): boolean {
  return !events.slice(0, -1).some(({ type }) => type === 'done' || type === 'error')
}

export const RunProgress = z
  .object({
    run_id: Id,
    status: z.enum(['running', 'done', 'failed']),
    next_sequence: z.int().meta({ description: 'The number of the event that is to come next.', example: 3 }),
  })
  .meta({ id: 'RunProgress' })
export type RunProgress = z.output<typeof RunProgress>
