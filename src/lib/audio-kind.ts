// What a recording is, by its first bytes: names and declared types are whatever a client made of them.

/** Bytes that are looked at. */
export const HEAD_BYTES = 64

const ascii = (bytes: Uint8Array, from: number, to: number) =>
  String.fromCharCode(...bytes.subarray(from, to))

/** The header of an MPEG audio frame of layer III (ISO 11172-3, 2.4.2.3): no reserved version, bit rate or sampling rate. */
function isMp3Frame([first = 0, second = 0, third = 0]: Uint8Array): boolean {
  const synced = first === 0xff && (second & 0xe0) === 0xe0
  const [version, layer, rate, sampling] = [
    (second >> 3) & 3,
    (second >> 1) & 3,
    third >> 4,
    (third >> 2) & 3,
  ]
  return synced && version !== 1 && layer === 1 && rate !== 0 && rate !== 15 && sampling !== 3
}

/** Major brands of MP4 files that hold sound, or may: iTunes' audio, and what recorders of phones and browsers write. */
const MP4_BRANDS = /^(?:M4A |M4B |M4P |mp4[12]|isom|iso[2-9]|dash|avc1|3gp[4-9]|qt {2})$/

/** The kinds that are taken: their content type, and the extension by which transcribers know them. */
const KINDS = [
  {
    type: 'audio/wav',
    extension: 'wav',
    is: (b: Uint8Array) => ascii(b, 0, 4) === 'RIFF' && ascii(b, 8, 12) === 'WAVE',
  },
  { type: 'audio/mpeg', extension: 'mp3', is: (b: Uint8Array) => ascii(b, 0, 3) === 'ID3' || isMp3Frame(b) },
  { type: 'audio/ogg', extension: 'ogg', is: (b: Uint8Array) => ascii(b, 0, 4) === 'OggS' },
  { type: 'audio/webm', extension: 'webm', is: (b: Uint8Array) => ascii(b, 0, 4) === '\x1aE\xdf\xa3' },
  { type: 'audio/flac', extension: 'flac', is: (b: Uint8Array) => ascii(b, 0, 4) === 'fLaC' },
  {
    type: 'audio/mp4',
    extension: 'm4a',
    is: (b: Uint8Array) => ascii(b, 4, 8) === 'ftyp' && MP4_BRANDS.test(ascii(b, 8, 12)),
  },
] as const

export type AudioKind = { type: string; extension: string }

/** The kind of audio that begins so; null where it is none that is taken. */
export function audioKind(head: Uint8Array): AudioKind | null {
  const kind = KINDS.find(({ is }) => is(head))
  return kind ? { type: kind.type, extension: kind.extension } : null
}

/** The extension of a content type that `audioKind` gave. */
export const extensionOf = (type: string): string =>
  KINDS.find((kind) => kind.type === type)?.extension ?? 'bin'
