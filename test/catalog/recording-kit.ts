import { env } from 'cloudflare:workers'

/** First bytes of each kind of recording. */
export const HEADS = {
  wav: [...ascii('RIFF'), 0, 0, 0, 0, ...ascii('WAVEfmt ')],
  mp3: [0xff, 0xfb, 0x90, 0x64],
  id3: [...ascii('ID3'), 4, 0, 0],
  ogg: [...ascii('OggS'), 0],
  webm: [0x1a, 0x45, 0xdf, 0xa3],
  flac: ascii('fLaC'),
  m4a: [0, 0, 0, 28, ...ascii('ftypM4A ')],
}

function ascii(text: string): number[] {
  return [...text].map((char) => char.charCodeAt(0))
}

/** A recording that tells the transcriber of the tests (receiver/transcribers.ts) what to hear. */
export function recording(
  told: object | null,
  kind: keyof typeof HEADS = 'wav',
  size = 0,
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(told ? JSON.stringify(told) : '')
  const head = HEADS[kind]
  const bytes = new Uint8Array(Math.max(size, 64 + text.length))
  bytes.set(head)
  bytes.set(text, 64)
  return bytes
}

/** A form with a recording. */
export function form(
  bytes: Uint8Array<ArrayBuffer>,
  fields: Record<string, string> = {},
  name = 'audio',
): FormData {
  const made = new FormData()
  made.set(name, new File([bytes], 'whatever.txt', { type: 'text/plain' }))
  for (const [field, value] of Object.entries(fields)) made.set(field, value)
  return made
}

/** What the transcriber of that key was asked. */
export async function asked(key: string) {
  const answer = await fetch(`${env.RECEIVER_URL}/transcriber/${key}/requests`)
  return (await answer.json()) as {
    fields: Record<string, string>
    file: { name: string; type: string; size: number }
    key: string | null
  }[]
}

export const transcriber = (key: string) => ({
  TRANSCRIBER: 'openai',
  TRANSCRIBER_URL: `${env.RECEIVER_URL}/transcriber/${key}`,
})
