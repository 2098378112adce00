import { env } from 'cloudflare:workers'
import type * as z from 'zod'
import type { Voice } from '../../../src/domains/voice/voices/schema'
import { recording } from '../../catalog/recording-kit'
import { upload } from '../../files/kit'
import type { Asked, Fault } from '../../receiver/scripted'
import { callJson, type World } from '../../world'

export type VoiceView = z.output<typeof Voice>

/** A server of ElevenLabs' protocol, and of Ultravox' voices, of one's own. */
export function speechServer() {
  const name = crypto.randomUUID()
  const base_url = `${env.RECEIVER_URL}/speech/${name}`
  const put = (path: string, body: unknown) =>
    fetch(`${base_url}${path}`, { method: 'PUT', body: JSON.stringify(body) })
  return {
    ...{ base_url, api_key: `key-of-${name}` },
    fail: (...faults: Fault[]) => put('/faults', faults),
    /** What it was asked, as `POST /v1/voices/add`. */
    asked: async (): Promise<(Asked & { at: string })[]> => {
      const all = (await (await fetch(`${base_url}/asked`)).json()) as Asked[]
      return all.map((one) => ({ ...one, at: `${one.method} ${one.path}` }))
    },
    voices: async () => (await (await put('/control/voices', {})).json()) as Kept[],
    have: (voices: Kept[]) => put('/control/voices', voices),
  }
}

export type Kept = {
  voice_id: string
  name: string
  category: string
  labels: Record<string, string>
  is_owner?: boolean
}

/** Has a world's own account of a kind be with such a server. */
export async function ownAccount(world: World, kind: 'tts' | 'ultravox', server = speechServer()) {
  const { api_key, base_url } = server
  const { status, error } = await callJson('PATCH', `/api/v1/auth/providers/${kind}`, {
    token: world.admin.token,
    body: { api_key, base_url },
  })
  if (status !== 200) throw new Error(JSON.stringify(error))
  return server
}

/** A file that is a sample of a voice. */
export const sample = (world: World, kind: 'wav' | 'mp3' = 'wav') =>
  upload(world.developer, recording(null, kind), {
    ...{ purpose: 'voice_sample', filename: `one.${kind}` },
    content_type: kind === 'wav' ? 'audio/wav' : 'audio/mpeg',
  })

export const make = (world: World, body: object) =>
  callJson<VoiceView>('POST', '/api/v1/voices', { token: world.developer.token, body })
export const read = async (world: World, id: string) =>
  (await callJson<VoiceView>('GET', `/api/v1/voices/${id}`, { token: world.viewer.token })).data

/** A clone that is to be made of one sample. */
export async function clone(world: World, name = 'Front desk') {
  const { id } = await sample(world)
  return make(world, { name, kind: 'clone', file_ids: [id], language: 'de-ch' })
}
