import { env } from 'cloudflare:workers'
import { describe, it } from 'vitest'
import { directory } from '../../src/data/database'
import { chats } from '../../src/domains/chat/chats/table'
import { iso, newId } from '../../src/lib/ids'
import { makeWorld, type World } from '../world'
import { chatWith } from './kit'
import { Place } from './schedules/place'
import { playTogether } from './schedules/schedule'

// Random schedules of send, edit, regenerate, stop, kill, reconnect and more, with readers over every transport: what the
// log comes to is what is stored, and what each reader got is what the log says. Each run of the tests plays others.
//
//   SCHEDULES=5000 npx vitest run test/chat/schedules.test.ts      more of them
//   SCHEDULE_SEED=1234 npx vitest run test/chat/schedules.test.ts  those again that failed

/** Chats side by side, and acts in each schedule. */
const TOGETHER = 10
const ACTS = 12
const IN_A_TEST = 100

const again = Number(env.SCHEDULE_SEED)
const count = again ? TOGETHER : Number(env.SCHEDULES)
const first = again || Date.now() % 1e9

async function placesIn(world: World, agentId: string): Promise<Place[]> {
  const now = Date.now()
  const rows = Array.from({ length: TOGETHER }, () => ({
    tenant_id: world.tenant.id,
    id: newId(now),
    user_id: world.member.user.id,
    agent_id: agentId,
    tags: [],
    metadata: {},
    last_activity_at: iso(now),
    version: 1,
    created_at: iso(now),
    updated_at: iso(now),
  }))
  const [one, ...others] = rows.map((row) => directory(env).insert(chats).values(row))
  if (one) await directory(env).batch([one, ...others])
  return rows.map(({ id }) => new Place(world, world.member, id, agentId))
}

describe(`${count} schedules from seed ${first} on`, () => {
  it.each(Array.from({ length: Math.ceil(count / IN_A_TEST) }, (_, i) => first + i * IN_A_TEST))(
    'agree with the log, whatever happens (from %i on)',
    async (from) => {
      const world = await makeWorld()
      const { agentId } = await chatWith(world, { name: 'Echo', kind: 'echo' })
      for (let seed = from; seed < Math.min(from + IN_A_TEST, first + count); seed += TOGETHER)
        await playTogether(await placesIn(world, agentId), seed, ACTS)
    },
    120_000,
  )
})
