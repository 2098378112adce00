import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import type { Note } from '../../../http/notes'
import { doc, Id, open, params, query, returns } from '../../../http/route'
import type { ProblemCode } from '../../../lib/problem'
import { fileAnswer, fileNote } from '../../files/answers'
import { cursorOf, eventStream, streaming } from '../messages/answering'
import { CursorText } from '../messages/schema'
import { streamChat } from '../messages/service'
import { enterShared, readShared, sharedFile } from './link'
import { SharedView } from './schema'

const errors: ProblemCode[] = ['tenant_mismatch', 'tenant_suspended', 'tenant_cancelled']
const note: Note = {
  tag: 'Chats',
  errors,
  description: 'Needs no credential but the token in the path; says nothing of who is in the chat.',
}
const Token = z
  .string()
  .regex(/^[\w-]{43}$/, 'must be the token of a public link')
  .meta({ example: 'kZ0m1yq7Vb3o9Xc5Rt2Lw8Ju6Hn4Gd1Fs0Ap7Qe3Iy5' })
const token = params({ token: Token })

/** What a public link shows is for who was given it, and no search engine was. */
function unlisted(answer: Response): Response {
  answer.headers.set('X-Robots-Tag', 'noindex, nofollow')
  answer.headers.set('Referrer-Policy', 'no-referrer')
  return answer
}

/** Chats by their public links. */
export const sharedRoutes = new Hono<AppEnv>()
  .get(
    '/:token',
    doc('Read a chat by its public link', note),
    open(),
    token,
    returns(200, SharedView),
    async (c) => unlisted(c.var.reply(await readShared(c.var.request, c.req.valid('param').token))),
  )
  .get(
    '/:token/stream',
    doc('Follow a chat by its public link', {
      ...note,
      description:
        'As `GET /chats/{id}/stream`, without what is of people alone: presence, typing, receipts, feedback.',
      returns: eventStream('The chat’s events'),
    }),
    open(),
    token,
    query({ last_event_id: CursorText.optional() }),
    async (c) => {
      const cursor = cursorOf(c.req.raw.headers) ?? c.req.valid('query').last_event_id ?? null
      const { ctx, chat } = await enterShared(c.var.request, c.req.valid('param').token)
      return unlisted(streaming(await streamChat(ctx, chat.id, cursor, c.req.raw.signal)))
    },
  )
  .get(
    '/:token/attachments/:file_id',
    doc('Read a file of a chat by its public link', {
      ...note,
      ...fileNote,
      errors: [...errors, 'range_not_satisfiable'],
    }),
    open(),
    params({ token: Token, file_id: Id }),
    async (c) => {
      const asked = c.req.valid('param')
      const { ctx, row } = await sharedFile(c.var.request, asked.token, asked.file_id)
      return unlisted(await fileAnswer(c, ctx, row))
    },
  )
