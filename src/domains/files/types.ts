// What a file is, by its first bytes, for the types that are shown and not only kept.

/** Bytes that are looked at. */
export const HEAD_BYTES = 64

const ascii = (bytes: Uint8Array, from: number, to: number) =>
  String.fromCharCode(...bytes.subarray(from, to))

const isWav = (bytes: Uint8Array) => ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WAVE'
/** An ID3 tag, or the sync word of an MPEG audio frame (layer I to III), or of ADTS. */
const isMpeg = (bytes: Uint8Array) =>
  ascii(bytes, 0, 3) === 'ID3' || (bytes[0] === 0xff && ((bytes[1] ?? 0) & 0xe0) === 0xe0)
const isMp4 = (bytes: Uint8Array) => ascii(bytes, 4, 8) === 'ftyp'
const isMatroska = (bytes: Uint8Array) => ascii(bytes, 0, 4) === '\x1aE\xdf\xa3'

/** How a file of the type begins. */
const BEGINNINGS: Readonly<Record<string, (bytes: Uint8Array) => boolean>> = {
  'image/png': (bytes) => ascii(bytes, 0, 8) === '\x89PNG\r\n\x1a\n',
  'image/jpeg': (bytes) => ascii(bytes, 0, 3) === '\xff\xd8\xff',
  'image/gif': (bytes) => /^GIF8[79]a$/.test(ascii(bytes, 0, 6)),
  'image/webp': (bytes) => ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP',
  'image/avif': (bytes) => /^ftypavi[fs]$/.test(ascii(bytes, 4, 12)),
  'audio/mpeg': isMpeg,
  'audio/mp3': isMpeg,
  'audio/aac': isMpeg,
  'audio/wav': isWav,
  'audio/x-wav': isWav,
  'audio/wave': isWav,
  'audio/ogg': (bytes) => ascii(bytes, 0, 4) === 'OggS',
  'audio/opus': (bytes) => ascii(bytes, 0, 4) === 'OggS',
  'audio/webm': isMatroska,
  'audio/flac': (bytes) => ascii(bytes, 0, 4) === 'fLaC',
  'audio/x-flac': (bytes) => ascii(bytes, 0, 4) === 'fLaC',
  'audio/mp4': isMp4,
  'audio/m4a': isMp4,
  'audio/x-m4a': isMp4,
}

/** Whether a browser may show a file of the type: pictures and sounds, whose bytes were looked at. SVG runs script. */
export const isShown = (contentType: string): boolean => Object.hasOwn(BEGINNINGS, contentType)

/** Whether the first bytes of a file can be those of its type; of a type that is never shown, any can. */
export const beginsAs = (contentType: string, head: Uint8Array): boolean =>
  BEGINNINGS[contentType]?.(head) ?? true

/** Pictures that models take. */
export const isPicture = (contentType: string): boolean => /^image\/(?:png|jpeg|gif|webp)$/.test(contentType)

/** A content type without its parameters, in lower case. */
export const plainType = (header: string): string => (header.split(';')[0] ?? '').trim().toLowerCase()
