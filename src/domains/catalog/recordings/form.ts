import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { jsonOf, readBytes, readText, refuseUnusable } from '../../../http/body'
import { noted } from '../../../http/notes'
import { jsonOfField } from '../../../lib/keepable'
import { problem } from '../../../lib/problem'
import { incoming } from '../interactions/incoming'
import { CreateInteraction, Said, saidFields } from '../interactions/schema'
import { MAX_SENT } from './audio'
import type { Given } from './schema'

/** The other fields of a form, with its boundaries. */
const FRAMING = 512 * 1024

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i
const FORM_TYPE = /^multipart\/form-data\s*;/i

const Form = z.object({
  audio: z.string().meta({
    format: 'binary',
    description:
      'WAV, MP3, Ogg, WebM, M4A or FLAC of at most 5 MiB (`file` is the same); larger ones are presigned.',
  }),
  text: Said.shape.text
    .unwrap()
    .optional()
    .meta({ description: 'What was said, where that is known already.' }),
  ...saidFields,
  metadata: z.string().optional().meta({ description: 'JSON.' }),
})

type WithGiven = AppEnv & { Variables: { given: Given } }

/** JSON, or a form with a recording. 415 for another content type, 413 over 5 MiB, 422 with every wrong field. */
export function givenBody(): MiddlewareHandler<WithGiven> {
  const middleware: MiddlewareHandler<WithGiven> = async (c, next) => {
    const type = c.req.header('Content-Type') ?? ''
    const http = c as unknown as HonoContext<AppEnv>
    if (JSON_TYPE.test(type)) c.set('given', { input: incoming(await jsonIn(http)), audio: null })
    else if (FORM_TYPE.test(type)) c.set('given', await formIn(http, type))
    else
      throw problem('unsupported_media_type', 'The body must be JSON, or a form with a recording', {
        details: { expected: 'application/json or multipart/form-data', received: type },
      })
    await next()
  }
  const example = { text: 'Where is my parcel?', speaker_id: 'caller-17' }
  return noted(middleware, {
    body: {
      ...{ schema: CreateInteraction, contentType: 'application/json', example },
      or: { schema: Form, contentType: 'multipart/form-data' },
    },
    formLimit: MAX_SENT + FRAMING,
  })
}

async function jsonIn(c: HonoContext<AppEnv>): Promise<unknown> {
  const text = await readText(c)
  refuseUnusable(text)
  return jsonOf(text)
}

async function formIn(c: HonoContext<AppEnv>, type: string): Promise<Given> {
  const bytes = await readBytes(c)
  const form = await new Response(bytes, { headers: { 'Content-Type': type } }).formData().catch((cause) => {
    throw problem('malformed_body', 'The body is not valid multipart/form-data', { cause })
  })
  const fields: [string, unknown][] = []
  const audio: Blob[] = []
  for (const [name, value] of form)
    if (name === 'audio' || name === 'file') audio.push(audioIn(name, value))
    else if (name === 'metadata') fields.push([name, metadataIn(value)])
    // An empty field of a form is one that nobody filled in.
    else if (value !== '') fields.push([name, value])
  const twice = fields.map(([name]) => name).filter((name, at, all) => all.indexOf(name) !== at)
  if (twice.length > 0)
    throw problem.invalid(Object.fromEntries(twice.map((name) => [name, 'must be sent once'])))
  if (audio.length > 1) throw problem.invalid({ audio: 'must be one file' })
  return { input: incoming(Object.fromEntries(fields), audio.length > 0), audio: audio[0] ?? null }
}

function audioIn(name: string, value: File | string): Blob {
  if (typeof value === 'string') throw problem.invalid({ [name]: 'must be a file' })
  if (value.size > MAX_SENT)
    throw problem(
      'body_too_large',
      'The recording is over the limit of a form; presign larger ones (POST /api/v1/files/presign)',
      {
        details: { limit_bytes: MAX_SENT, size_bytes: value.size },
      },
    )
  return value
}

function metadataIn(value: File | string): unknown {
  if (typeof value !== 'string') throw problem.invalid({ metadata: 'must be JSON' })
  return jsonOfField('metadata', value)
}
