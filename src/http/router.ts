import type { Result, Router } from 'hono/router'
import { TrieRouter } from 'hono/router/trie-router'
import { isOnlyNote, leaveOut } from './notes'

const METHODS = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/**
 * Hono's trie, which remembers where the paths without parameters lead: they always lead to the same handlers. Hono's
 * faster router refuses paths such as `/webhooks/by-uid/:uid` beside `/webhooks/:id/secret`. Handlers that are only notes
 * are left out: to run one costs as much as to run any.
 */
export class RememberingRouter<T> implements Router<T> {
  readonly name = 'RememberingRouter'
  readonly #trie = new TrieRouter<T>()
  readonly #fixed = new Set<string>()
  readonly #known = new Map<string, Result<T>>()

  /** What was left out of the route that is being registered, by its method and path. */
  #notes: { of: string; handlers: unknown[] } = { of: '', handlers: [] }

  add(method: string, path: string, handler: T): void {
    const [run, route] = Array.isArray(handler) ? handler : []
    const of = `${method} ${path}`
    if (run && isOnlyNote(run)) {
      if (this.#notes.of !== of) this.#notes = { of, handlers: [] }
      this.#notes.handlers.push(run)
      return
    }
    if (this.#notes.of === of) leaveOut(route, this.#notes.handlers)
    this.#notes = { of: '', handlers: [] }
    if (!/[:*]/.test(path)) this.#fixed.add(path)
    this.#trie.add(method, path, handler)
    this.#known.clear()
  }

  match(method: string, path: string): Result<T> {
    // Only what was registered is remembered, so callers can't fill the memory.
    if (!this.#fixed.has(path) || !METHODS.has(method)) return this.#trie.match(method, path)
    const key = `${method} ${path}`
    let result = this.#known.get(key)
    if (!result) {
      result = this.#trie.match(method, path)
      this.#known.set(key, result)
    }
    return result
  }
}
