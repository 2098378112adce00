import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { noted, noteOf } from '../../../http/notes'
import { body } from '../../../http/route'
import type { UiOrder } from '../room/formats/ui-order'
import type { Ordered } from '../room/runs/order'
import { SendMessage } from './schema'
import { UiRequest, uiOrderOf } from './ui-request'

/** The AI SDK’s client sends all messages that it has with each new one. */
const MOST_UI = 8 * 1024 * 1024

const plain = body(SendMessage)
const ui = body(UiRequest, { limit: MOST_UI })

type Both = { json: SendMessage | UiRequest }

/** A message as the chat’s own clients send it, or with `format=ui` as the AI SDK’s does. */
export const messageBody = noted<MiddlewareHandler<AppEnv, string, { in: Both; out: Both }>>(
  (c, next) => (c.req.query('format') === 'ui' ? ui : plain)(c as never, next),
  noteOf(plain) ?? {},
)

/** The order that such a body is. */
export function orderOf(sent: Both['json'], format: 'ui' | undefined): Ordered | UiOrder {
  return format === 'ui' ? uiOrderOf(sent as UiRequest) : { kind: 'send', ...(sent as SendMessage) }
}
