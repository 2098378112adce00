import * as z from 'zod'

const CHANNEL = 'must be a channel such as deliveries:{endpoint_id}'
const Channel = z.string(CHANNEL).regex(/^[a-z]+:[0-9a-f-]{36}$/, CHANNEL)

const FrameId = z.string('must be the id of a frame').max(64, 'must be the id of a frame')

/** What a client sends over the socket, one JSON object a frame. */
export const ClientFrame = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('auth'),
    token: z.string().max(16_384).optional(),
    ticket: z.string().max(256).optional(),
    tenant_id: z.string().max(64).optional(),
  }),
  z.strictObject({ type: z.literal('subscribe'), channel: Channel, after: FrameId.optional() }),
  z.strictObject({ type: z.literal('ack'), channel: Channel, id: FrameId }),
  z.strictObject({ type: z.literal('unsubscribe'), channel: Channel }),
  z.strictObject({ type: z.literal('ping') }),
])
export type ClientFrame = z.output<typeof ClientFrame>

export const Ticket = z
  .object({
    ticket: z.string().meta({
      description: 'For the `auth` frame of one socket, once.',
      example: 'rt_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d_h3Jd0qZ…',
    }),
    expires_at: z.string().meta({ format: 'date-time', example: '2026-01-31T10:00:30.000Z' }),
  })
  .meta({ id: 'RealtimeTicket' })

/** `?ticket=` of a socket or stream that a browser opens. */
export const TicketParam = z.string().max(256).optional().meta({
  description: 'For browsers, which can’t set a header here: one of `POST /api/v1/realtime/ticket`.',
})
