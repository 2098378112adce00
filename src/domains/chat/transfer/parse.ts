import { actingUser, type Context } from '../../../data/context'
import type { Message } from '../messages/schema'
import { fromChatGpt, isChatGpt } from './chatgpt'
import { fromOpenWebUi, isOpenWebUi } from './open-webui'
import { fromOwn, isOwn } from './own'
import { type ImportedChat, wrong } from './portable'
import type { ImportFile } from './schema'

/** What was read of one chat; `agentId` is the agent that its file names. */
export type Parsed = { agentId: string | null; chat: ImportedChat }

const NOT_ONE =
  'must be a chat as GET …/export gives it, of ChatGPT’s conversations.json, or of Open WebUI’s export'

/** Every chat of a file, whichever of the formats it has; 422 with where it has none, or is wrong. */
export function parseFile(ctx: Context, file: ImportFile): Parsed[] {
  if (!Array.isArray(file)) return [parseChat(ctx, file, [])]
  return file.map((one, i) => parseChat(ctx, one, [String(i)]))
}

function parseChat(ctx: Context, value: Record<string, unknown>, path: string[]): Parsed {
  const read = isOwn(value)
    ? fromOwn
    : isChatGpt(value)
      ? fromChatGpt
      : isOpenWebUi(value)
        ? fromOpenWebUi
        : null
  if (!read) throw wrong(path.join('.') || 'body', NOT_ONE)
  const { agentId, chat } = read(value, path, ctx.now)
  return { agentId, chat: { ...chat, messages: chat.messages.map((one) => withoutOthers(ctx, one)) } }
}

/** Of what people thought of an answer only what the importer says is theirs. */
function withoutOthers(ctx: Context, { feedback = [], ...message }: Message): Message {
  const user_id = actingUser(ctx)
  const own = feedback.filter((one) => one.rating !== null && one.user_id === user_id).slice(0, 1)
  return own.length > 0 ? { ...message, feedback: own } : message
}
