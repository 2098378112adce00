import { latestQuestion, type Upstream } from './upstream'

/** The embedded default: answers with the message itself, word by word, without any network. */
export const echo: Upstream = async function* (_agent, request) {
  for (const text of latestQuestion(request).match(/\s*\S+\s*$|\s*\S+|\s+/g) ?? []) {
    request.signal.throwIfAborted()
    yield { kind: 'delta', text }
  }
  yield { kind: 'finish', reason: 'stop' }
}
