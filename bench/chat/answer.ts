import { readdirSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeChat, read, type Stage } from './stage.ts'
import { sleep } from './words.ts'

/** What one answer was to one who followed it: frames and bytes on the wire, and rows of the chat’s log. */
export type Answer = { tokens: number; frames: number; bytes: number; rows: number }

/** Some 4.5 characters each, as tokens are. */
const TOKENS = ['The ', 'quick ', 'brown ', 'fox ', 'jumps ', 'over ', 'a ', 'lazy ', 'dog. ']

/** Answers of so many tokens, one every `everyMs`, in chats of their own at the same time. */
export async function measureAnswers(
  stage: Stage,
  state: string,
  lengths: number[],
  everyMs: number,
): Promise<Answer[]> {
  return Promise.all(
    lengths.map(async (tokens) => {
      const chat = await makeChat(stage)
      stage.agents.scripts.set(chat.agent, {
        ...{ words: tokens, everyMs },
        word: (n) => TOKENS[n % TOKENS.length] ?? '',
      })
      const response = await read(stage, 'POST', `${chat.path}/messages`, { content: 'Tell me of the fox' })
      const run = /"run_id":"([^"]+)"/.exec(response)?.[1] ?? ''
      const frames = [...response.matchAll(/^data: /gm)].length
      if (!response.includes('"finish":"stop"'))
        throw new Error(`an answer ended with ${response.slice(-300)}`)
      // Rows are written before the last event goes out, but a file is read here.
      await sleep(200)
      return { tokens, frames, bytes: Buffer.byteLength(response), rows: rowsOf(state, run) }
    }),
  )
}

/** The rows of the log with that run in it, as the chat’s object has stored them. */
function rowsOf(state: string, run: string): number {
  for (const file of readdirSync(state, { recursive: true, encoding: 'utf8' })) {
    if (!file.includes('ChatRoom') || !file.endsWith('.sqlite')) continue
    const database = new DatabaseSync(path.join(state, file), { readOnly: true })
    try {
      const found = database.prepare('select count(*) as rows from log where data like ?').get(`%${run}%`)
      if (Number(found?.rows) === 0) continue
      return Number(database.prepare('select count(*) as rows from log').get()?.rows)
    } catch {
      // An object that has no log yet.
    } finally {
      database.close()
    }
  }
  return Number.NaN
}
