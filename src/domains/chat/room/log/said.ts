import type { Said } from '../../search/feed'
import { searchedText } from '../../search/words'
import type { Store } from '../store'
import type { Conversation } from './conversation'
import type { ChatLog } from './log'

/** Characters of the conversation’s end that the searched text is made of; it holds 8 KiB. */
const CHARS = 8 * 1024

/** What search should know of the chat that it was not told: null where that is nothing, or an answer is being written. */
export function saidNow(store: Store, parts: { log: ChatLog; conversation: Conversation }): Said | null {
  const { log, conversation } = parts
  if (Number(store.get('found_seq') ?? 0) >= log.head) return null
  if (store.row(`select 1 from runs where status = 'running' limit 1`)) return null
  const contents = conversation.branch(log, Number.MAX_SAFE_INTEGER, CHARS).map(({ content }) => content)
  return { title: store.get('title'), text: searchedText(contents), log_seq: log.head }
}

/** Notes that search was told. */
export const toldSearch = (store: Store, { log_seq }: Said): void => store.set('found_seq', String(log_seq))
