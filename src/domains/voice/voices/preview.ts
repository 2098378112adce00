import type { Context } from '../../../data/context'
import { base64url, utf8 } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'
import { accountOf } from './account'
import { previewsOf } from './preview-key'
import { getVoice } from './service'
import { speechOf } from './speech/choose'
import type { Spoken } from './speech/speech'
import type { VoiceRow } from './table'

/** What is said to hear a voice, in its language where there is such a sentence. */
const SENTENCES: Readonly<Record<string, string>> = {
  de: 'Guten Tag! So klinge ich, wenn ich Sie anrufe.',
  en: 'Hello! This is how I sound when I call you.',
  es: '¡Hola! Así sueno cuando le llamo.',
  fr: 'Bonjour ! Voici ma voix quand je vous appelle.',
  it: 'Buongiorno! Questa è la mia voce quando la chiamo.',
  ja: 'こんにちは。お電話ではこのような声でお話しします。',
  nl: 'Hallo! Zo klink ik als ik u bel.',
  pl: 'Dzień dobry! Tak brzmię, kiedy do Państwa dzwonię.',
  pt: 'Olá! É assim que soo quando ligo para você.',
  zh: '您好！这就是我给您打电话时的声音。',
}

/** A voice's sound with the tag by which it is known again. */
export type Preview = Spoken & { etag: string }

/** How a voice sounds; it is made once, and kept. 404, 409 while the voice is not ready. */
export async function previewVoice(ctx: Context, id: string): Promise<Preview> {
  const voice = await getVoice(ctx, id)
  if (voice.status !== 'ready' || voice.provider_voice_id === null)
    throw problem('conflict', `The voice is ${voice.status}; it can be heard once it is ready`, {
      details: { status: voice.status, error: voice.error },
    })
  const text = sentenceFor(voice)
  const etag = await tagOf([voice.provider, voice.provider_voice_id, text])
  const key = `${previewsOf(ctx.tenant.id, id)}${etag}`
  const kept = await ctx.env.FILES.get(key)
  if (kept) return { bytes: new Uint8Array(await kept.arrayBuffer()), type: typeOf(kept), etag }
  const sound = await speechOf(ctx, await accountOf(ctx, voice)).speak(voice.provider_voice_id, text)
  await ctx.env.FILES.put(key, sound.bytes, { httpMetadata: { contentType: sound.type } })
  return { ...sound, etag }
}

const typeOf = (object: R2Object): string => object.httpMetadata?.contentType ?? 'application/octet-stream'

const sentenceFor = ({ language }: VoiceRow): string =>
  SENTENCES[language?.split('-')[0] ?? 'en'] ?? SENTENCES.en ?? ''

async function tagOf(words: string[]): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', utf8(JSON.stringify(words)))
  return base64url(new Uint8Array(hash)).slice(0, 22)
}
