import { exports } from 'cloudflare:workers'
import { ApiException, Svix } from 'svix'
import { expect } from 'vitest'
import { makeWorld, newAddress, type World } from '../world'

/** Svix's own client, told where Causeway is and nothing else. */
export function clientOf(key: string): Svix {
  const address = newAddress()
  return new Svix(key, {
    serverUrl: 'http://localhost:8787',
    fetch: (url: unknown, init: unknown) => {
      const request = new Request(String(url), init as RequestInit)
      request.headers.set('CF-Connecting-IP', address)
      return exports.default.fetch(request)
    },
  } as never)
}

export async function svixWorld(): Promise<{ world: World; svix: Svix }> {
  const world = await makeWorld()
  return { world, svix: clientOf(world.apiKey) }
}

type Detail = { loc: string[]; msg: string; type: string }

/** What the client throws: the status, and the body as Svix writes it. */
export async function refusedWith(
  work: Promise<unknown>,
): Promise<{ status: number; code?: string; detail: string | Detail[] }> {
  const error = await work.then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof ApiException)) throw error
  const body = error.body as { code?: string; detail: string | Detail[] }
  if (error.code === 422) expect(Object.keys(body)).toEqual(['detail'])
  else expect(Object.keys(body)).toEqual(['code', 'detail'])
  return { status: error.code, ...body }
}

/** The fields that a 422 names, by their place. */
export async function wrongFields(work: Promise<unknown>): Promise<Record<string, string>> {
  const { status, detail } = await refusedWith(work)
  expect([status, Array.isArray(detail)]).toEqual([422, true])
  return Object.fromEntries((detail as Detail[]).map(({ loc, msg }) => [loc.join('.'), msg]))
}
