// Sound without a service for it: 16-bit mono PCM in a WAV file, as every player knows it.

const RATE = 8_000
const HEADER = 44
/** Syllables a second, and the pitches that a voice has, in hertz. */
const SYLLABLES = 4
const LOWEST = 110
const PITCHES = 24

/** What a voice might sound like that says so many seconds of nothing: the same for the same seed. */
export function murmur(seed: string, seconds: number): Uint8Array<ArrayBuffer> {
  const numbers = new Uint8Array(new TextEncoder().encode(seed || '-'))
  const base = LOWEST * 2 ** ((numbers.reduce((sum, one) => sum + one, 0) % PITCHES) / PITCHES)
  const samples = new Int16Array(Math.round(seconds * RATE))
  const length = RATE / SYLLABLES
  for (let i = 0; i < samples.length; i++) {
    const syllable = Math.floor(i / length)
    const lift = (numbers[syllable % numbers.length] ?? 0) % 7
    const within = (i % length) / length
    const swell = Math.sin(Math.PI * within) ** 2
    const angle = (2 * Math.PI * i * base * 2 ** (lift / 24)) / RATE
    samples[i] = Math.round(9_000 * swell * (Math.sin(angle) + 0.4 * Math.sin(2 * angle)) * (2 / 3))
  }
  return wavOf(samples)
}

/** The samples as a WAV file (RIFF, format 1). */
function wavOf(samples: Int16Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER + samples.byteLength)
  const view = new DataView(bytes.buffer)
  const text = (at: number, word: string) => bytes.set(new TextEncoder().encode(word), at)
  text(0, 'RIFF')
  view.setUint32(4, bytes.length - 8, true)
  text(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, RATE, true)
  view.setUint32(28, RATE * 2, true)
  view.setUint16(32, 2, true)
  view.setUint16(34, 16, true)
  text(36, 'data')
  view.setUint32(40, samples.byteLength, true)
  samples.forEach((sample, i) => {
    view.setInt16(HEADER + i * 2, sample, true)
  })
  return bytes
}
