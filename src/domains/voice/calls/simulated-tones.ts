import type { Turn } from './port'

/** Samples a second, each of a byte: what telephones carry. */
const RATE = 8_000
/** A recording goes on so long at most; what was said later is not in it. */
const MOST_SECONDS = 20
const HEADER = 44
const SILENCE = 128
const PITCH = { agent: 440, user: 330 } as const

/** A recording in which a tone stands for each turn, another for each side (RIFF WAVE, PCM, mono). */
export function recordedAs(
  turns: readonly Pick<Turn, 'role' | 'started_at' | 'ended_at'>[],
  from: number,
  to: number,
): Blob {
  const seconds = Math.min(Math.max((to - from) / 1000, 0.25), MOST_SECONDS)
  const length = Math.floor(seconds * RATE)
  const bytes = new Uint8Array(HEADER + length).fill(SILENCE)
  header(new DataView(bytes.buffer), length)
  const sample = (time: string) => Math.floor(((Date.parse(time) - from) / 1000) * RATE)
  for (const { role, started_at, ended_at } of turns)
    for (let at = Math.max(0, sample(started_at)); at < Math.min(length, sample(ended_at)); at++)
      bytes[HEADER + at] = SILENCE + Math.round(40 * Math.sin((2 * Math.PI * PITCH[role] * at) / RATE))
  return new Blob([bytes], { type: 'audio/wav' })
}

function header(view: DataView, length: number): void {
  const text = (at: number, word: string) => {
    for (let i = 0; i < 4; i++) view.setUint8(at + i, word.charCodeAt(i))
  }
  text(0, 'RIFF')
  view.setUint32(4, HEADER - 8 + length, true)
  text(8, 'WAVE')
  text(12, 'fmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true) // PCM
  view.setUint16(22, 1, true) // mono
  view.setUint32(24, RATE, true)
  view.setUint32(28, RATE, true)
  view.setUint16(32, 1, true)
  view.setUint16(34, 8, true)
  text(36, 'data')
  view.setUint32(40, length, true)
}
