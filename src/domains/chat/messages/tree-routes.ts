import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { stillIn } from '../chats/service'
import { answerRun, named, ordering } from './answering'
import {
  ActiveLeaf,
  ChooseBranch,
  Edited,
  EditMessage,
  Exchange,
  Feedback,
  GiveFeedback,
  Regenerate,
  TreeMessage,
} from './schema'
import { chooseBranch, editMessage, giveFeedback, listMessages } from './tree-service'

const tag = 'Chats'
const id = params({ id: Id })
const both = params({ id: Id, message_id: Id })

/** What else is done to a message, and to the tree that messages are. */
export const treeRoutes = new Hono<AppEnv>()
  .get(
    '/:id/messages',
    doc('List the messages of all branches', {
      tag,
      description:
        'In the order in which they were made: each after the one that it follows. A page may be shorter than `limit` where messages are long.',
    }),
    allow('chats:read'),
    id,
    query(paging),
    returnsPage(TreeMessage),
    async (c) => c.var.reply(await listMessages(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .patch(
    '/:id/messages/:message_id',
    doc('Say a message differently', {
      ...ordering,
      description:
        'A user’s message is said anew beside the old one and answered, as `POST …/messages` answers. Of an agent’s answer the edited text is kept beside the old one, and nobody is asked: both are siblings, and the new branch is shown. With `in_place` the text of either changes where it stands.',
    }),
    allow('chats:write'),
    both,
    body(EditMessage),
    returns(200, Edited, {
      description: 'Both messages, where JSON is preferred; the edited one alone, where no agent was asked',
    }),
    async (c) => {
      const { id, message_id } = c.req.valid('param')
      const { in_place, ...said } = named(c, c.req.valid('json'))
      const edited = await editMessage(c.var.ctx, id, { message_id, in_place, ...said })
      if (edited) return c.var.reply({ run_id: null, finish: null, messages: [edited], usage: null })
      return answerRun(c, id, { kind: 'edit', message_id, ...said })
    },
  )
  .post(
    '/:id/messages/:message_id/regenerate',
    doc('Have a message answered anew', {
      ...ordering,
      description:
        'Of an answer, or of the message that it answers: the new answer is a sibling of the old one, which stays. Answers as `POST …/messages` does.',
    }),
    allow('chats:write'),
    both,
    body(Regenerate, { optional: true }),
    returns(200, Exchange, { description: 'The question and the new answer, where JSON is preferred' }),
    async (c) => {
      const { id, message_id } = c.req.valid('param')
      return answerRun(c, id, { kind: 'regenerate', message_id, ...c.req.valid('json') })
    },
  )
  .put(
    '/:id/active_leaf',
    doc('Choose the branch that is shown', {
      tag,
      description:
        'The one through this message, down to its newest end, which is answered. All who follow the chat see it.',
      again: stillIn('editor'),
      errors: ['chat_role_required', 'run_in_progress'],
    }),
    allow('chats:write'),
    id,
    body(ChooseBranch),
    returns(200, ActiveLeaf),
    async (c) =>
      c.var.reply(await chooseBranch(c.var.ctx, c.req.valid('param').id, c.req.valid('json').message_id)),
  )
  .post(
    '/:id/feedback',
    doc('Say what you think of an answer', {
      tag,
      description:
        'Thumbs and a comment, in the place of what you said before; `rating: null` takes it back. It is shown with the message and announced as `chat.message.rated`.',
      again: stillIn('editor'),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    body(GiveFeedback),
    returns(200, Feedback),
    async (c) => c.var.reply(await giveFeedback(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
