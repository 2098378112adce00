import type { RequestContext } from '../../../data/context'
import type { Bindings } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { FETCH_MS, fetchKeys, type KeySource } from './fetch-keys'
import { chooseKey, type IssuerKey, importKeys } from './key-set'

// An issuer's public keys: in the isolate's memory, in KV for the other isolates, and from the issuer.

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now' | 'defer'>

/** Whose keys: `name` carries the tenant, and stands for nobody else's. */
export type KeysOf = { name: string; source: KeySource }

/** Keys are used so long without asking; who comes later has them looked up beside his request. */
const FRESH_MS = 5 * 60_000
/** While the issuer is down they are used for an hour (identity.md). */
const STALE_MS = 3600_000
/** An issuer is asked at most so often, whatever it answered and whatever for. */
const COOLDOWN_MS = 30_000
/** So long a `kid` that the issuer did not have is taken for none. */
const UNKNOWN_MS = 30_000
const MOST_UNKNOWN = 1_000
/** Who waits for another request's look at the issuer looks at its outcome so often. */
const LOOK_AGAIN_MS = 20
/** KV answers in milliseconds; beyond this the issuer is asked. */
const KV_MS = 1_000
/** A look that is under way for longer died with the request that made it. */
const GIVEN_UP_MS = 2 * FETCH_MS

class Held {
  keys: IssuerKey[] | null = null
  /** When the issuer gave them. */
  fetchedAt = Number.NEGATIVE_INFINITY
  askedAt = Number.NEGATIVE_INFINITY
  /** Since when a request is asking, by the wall clock. */
  askingSince: number | null = null
  readonly unknown = new Map<string, number>()

  age(now: number): number {
    return now - this.fetchedAt
  }

  /** What may be gone by, or null. */
  usable(now: number): IssuerKey[] | null {
    return this.age(now) <= STALE_MS ? this.keys : null
  }

  get isAsking(): boolean {
    return this.askingSince !== null && Date.now() - this.askingSince < GIVEN_UP_MS
  }

  /** Also where a look was given up: it may never have reached the issuer. */
  mayAsk(now: number): boolean {
    return !this.isAsking && (this.askingSince !== null || now - this.askedAt >= COOLDOWN_MS)
  }

  learnUnknown(kid: string, now: number): void {
    if (this.unknown.size >= MOST_UNKNOWN) this.unknown.clear()
    this.unknown.set(kid, now + UNKNOWN_MS)
  }
}

const memories = new WeakMap<Bindings, Map<string, Held>>()
const MOST = 1_000

function heldOf(env: Bindings, name: string): Held {
  let memory = memories.get(env)
  if (!memory) {
    memory = new Map()
    memories.set(env, memory)
  }
  let held = memory.get(name)
  if (held) return held
  if (memory.size >= MOST) memory.clear()
  held = new Held()
  memory.set(name, held)
  return held
}

/**
 * The key that a token's header means; null where the issuer has none such. 503 where the issuer's keys are not known:
 * it does not answer, and has not for an hour.
 */
export async function issuerKey(
  caller: Caller,
  of: KeysOf,
  header: { alg?: unknown; kid?: unknown },
): Promise<CryptoKey | null> {
  const held = heldOf(caller.env, of.name)
  const { now } = caller
  const hasIt = (keys: IssuerKey[]) => chooseKey(keys, header) !== null
  if (!held.usable(now)) await refresh(caller, of, held, hasIt)
  else if (held.age(now) > FRESH_MS && held.mayAsk(now)) caller.defer(refresh(caller, of, held, () => true))
  const known = chooseKey(usable(caller, held), header)
  if (known) return known
  const kid = typeof header.kid === 'string' ? header.kid : ''
  if (now < (held.unknown.get(kid) ?? 0)) return null
  const answered = await refresh(caller, of, held, hasIt)
  const found = chooseKey(usable(caller, held), header)
  if (!found && answered) held.learnUnknown(kid, now)
  return found
}

function usable(caller: Caller, held: Held): IssuerKey[] {
  const keys = held.usable(caller.now)
  if (keys) return keys
  throw problem('service_unavailable', 'The issuer of the token does not answer', {
    headers: { 'Retry-After': String(COOLDOWN_MS / 1000) },
  })
}

/**
 * Has the keys looked up, unless that was done a moment ago; resolves when the outcome is there, with whether this very
 * request had the issuer asked, or found what is enough. One request asks, and is kept alive for it; the others look at what it found, since its promise
 * may never end.
 */
async function refresh(
  caller: Caller,
  of: KeysOf,
  held: Held,
  enough: (keys: IssuerKey[]) => boolean,
): Promise<boolean> {
  if (held.isAsking) return joined(held)
  if (!held.mayAsk(caller.now)) return false
  held.askedAt = caller.now
  held.askingSince = Date.now()
  const work = ask(caller, of, held, enough)
    .catch((error: unknown) => {
      log.warn('issuer_keys_unread', { of: of.name, cause: describeError(error) })
      return false
    })
    .finally(() => {
      held.askingSince = null
    })
  caller.defer(work)
  return work
}

async function joined(held: Held): Promise<false> {
  while (held.isAsking) await scheduler.wait(LOOK_AGAIN_MS)
  return false
}

/** What KV keeps of an issuer. */
type Copy = { fetched_at: number; document: unknown }

async function ask(
  caller: Caller,
  of: KeysOf,
  held: Held,
  enough: (keys: IssuerKey[]) => boolean,
): Promise<boolean> {
  const { env, now } = caller
  const name = `jwks:${of.name}`
  const read = env.KV.get<Copy>(name, 'json').catch(() => null)
  const copy = await Promise.race([read, scheduler.wait(KV_MS).then(() => null)])
  if (copy && copy.fetched_at > held.fetchedAt && now - copy.fetched_at <= STALE_MS) {
    held.keys = await importKeys(copy.document)
    held.fetchedAt = copy.fetched_at
    const suffices = now - copy.fetched_at <= FRESH_MS && enough(held.keys)
    if (suffices || now - copy.fetched_at < COOLDOWN_MS) {
      // The issuer was asked then, by whichever isolate, and not now.
      held.askedAt = copy.fetched_at
      return suffices
    }
  }
  const document = await fetchKeys(of.source, caller.settings)
  held.keys = await importKeys(document)
  held.fetchedAt = now
  const text = JSON.stringify({ fetched_at: now, document } satisfies Copy)
  // An isolate that comes later asks KV first; where this fails it asks the issuer.
  caller.defer(env.KV.put(name, text, { expirationTtl: STALE_MS / 1000 }))
  return true
}
