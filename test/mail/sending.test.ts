import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import type { Context } from '../../src/data/context'
import { mailStatement } from '../../src/domains/mail/compose'
import { dropOldMails, sendDue } from '../../src/domains/mail/service'
import { type Bindings, settingsOf } from '../../src/env'
import { serviceWith } from '../http/service'
import { RESEND_KEY } from '../receiver/mail'
import { eventually } from '../webhooks/receiver'
import { makeWorld } from '../world'

const RESEND = {
  MAIL_PROVIDER: 'resend',
  MAIL_FROM: 'Causeway <mail@causeway.example>',
  RESEND_API_KEY: RESEND_KEY,
  RESEND_URL: `${env.RECEIVER_URL}/mail/`,
}
const SEND_EMAIL = { MAIL_PROVIDER: 'send_email', MAIL_FROM: 'Causeway <mail@causeway.example>' }

type Row = {
  id: string
  text: string
  html: string
  attempts: number
  next_attempt_at: string | null
  sent_at: string | null
  failed_at: string | null
  last_error: string | null
}

const LINK = 'https://example.com/verify-email#token=secret'

/** A mail as a verb writes it, in a service with these settings. */
async function mail(to: string, settings: object) {
  const bindings = { ...env, ...settings } as unknown as Bindings
  const { ctx: plain } = await makeWorld()
  const deferred: Promise<unknown>[] = []
  const ctx: Context = {
    ...plain,
    env: bindings,
    settings: settingsOf(bindings),
    defer: (work) => void deferred.push(work.catch(() => undefined)),
  }
  await commit(ctx, { statements: [mailStatement(ctx, to, 'verify_email', LINK)], result: null })
  const row = async () => {
    const found = await env.DB.prepare('select * from mails where tenant_id = ?')
      .bind(ctx.tenant.id)
      .first<Row>()
    if (!found) throw new Error('no mail')
    return found
  }
  /** Makes its time come, and sweeps. */
  const sweep = async () => {
    await env.DB.prepare(
      'update mails set next_attempt_at = ? where tenant_id = ? and next_attempt_at is not null',
    )
      .bind(new Date(Date.now() - 60_000).toISOString(), ctx.tenant.id)
      .run()
    await sendDue(bindings, { waitUntil: () => undefined }, Date.now())
    return row()
  }
  return { ctx, row, sweep, settled: () => Promise.all(deferred) }
}

const someone = (kind: string) => `${kind}-${crypto.randomUUID().slice(0, 8)}@example.com`

type Email = { from: string; to: string[]; subject: string; text: string; html: string }

const sentTo = async (to: string): Promise<{ emails: Email[]; tries: number }> =>
  (await fetch(`${env.RECEIVER_URL}/mail/sent?to=${encodeURIComponent(to)}`)).json()

const minutesUntil = (time: string | null) => (Date.parse(time ?? '') - Date.now()) / 60_000

describe('mail by Resend', () => {
  it('goes out as soon as its batch stands, and leaves no link behind', async () => {
    const to = someone('plain')
    const { row, settled } = await mail(to, RESEND)
    await settled()
    const { emails, tries } = await sentTo(to)
    expect(tries).toBe(1)
    expect(emails).toEqual([
      {
        from: 'Causeway <mail@causeway.example>',
        to: [to],
        subject: 'Confirm your email address',
        text: expect.stringContaining(LINK),
        html: expect.stringContaining(`<a href="${LINK}">`),
      },
    ])
    expect(await row()).toMatchObject({
      ...{ text: '', html: '', attempts: 1, next_attempt_at: null, failed_at: null, last_error: null },
      sent_at: expect.any(String),
    })
  })

  it('is tried again, at first after a minute, and delivered once', async () => {
    const to = someone('flaky')
    const { row, settled, sweep } = await mail(to, RESEND)
    await settled()
    const first = await row()
    expect(first).toMatchObject({ attempts: 1, sent_at: null, failed_at: null })
    expect(first.last_error).toBe('Resend answered 500 internal_server_error')
    expect(first.text).toContain(LINK)
    expect(minutesUntil(first.next_attempt_at)).toBeCloseTo(1, 0)
    // Nothing is due before its time.
    await sendDue({ ...env, ...RESEND } as unknown as Bindings, { waitUntil: () => undefined }, Date.now())
    expect((await row()).attempts).toBe(1)
    expect(minutesUntil((await sweep()).next_attempt_at)).toBeCloseTo(5, 0)
    expect(await sweep()).toMatchObject({ attempts: 3, text: '', sent_at: expect.any(String) })
    expect(await sentTo(to)).toMatchObject({ tries: 3, emails: [{ to: [to] }] })
  })

  it('waits as long as it is asked to', async () => {
    const { row, settled } = await mail(someone('busy'), RESEND)
    await settled()
    const { next_attempt_at, last_error } = await row()
    expect(last_error).toBe('Resend answered 429 rate_limit_exceeded')
    expect(minutesUntil(next_attempt_at)).toBeCloseTo(20, 0)
  })

  it('is given up where the mail itself is refused, after six attempts, or when its link is dead', async () => {
    const refused = await mail(someone('refused'), RESEND)
    await refused.settled()
    expect(await refused.row()).toMatchObject({
      ...{ attempts: 1, next_attempt_at: null, text: '', html: '' },
      failed_at: expect.any(String),
      last_error: 'Resend answered 422 invalid_parameter',
    })

    const to = someone('silent')
    const silent = await mail(to, RESEND)
    await silent.settled()
    for (let attempt = 2; attempt <= 6; attempt++) {
      expect((await silent.row()).failed_at).toBeNull()
      expect((await silent.sweep()).attempts).toBe(attempt)
    }
    expect(await silent.sweep()).toMatchObject({
      attempts: 6,
      text: '',
      last_error: 'Resend could not be reached',
    })
    expect((await silent.row()).failed_at).not.toBeNull()
    expect((await sentTo(to)).tries).toBeGreaterThanOrEqual(6)

    const late = await mail(someone('flaky'), RESEND)
    await late.settled()
    await env.DB.prepare('update mails set useful_until = ? where tenant_id = ?')
      .bind('2026-01-01T00:00:00.000Z', late.ctx.tenant.id)
      .run()
    expect(await late.sweep()).toMatchObject({
      attempts: 1,
      text: '',
      last_error: 'its link works no longer',
    })
  })

  it('waits for a key that is wrong to be mended, and says nothing of the key or the mail', async () => {
    const wrong = await mail(someone('plain'), { ...RESEND, RESEND_API_KEY: 're_wrong' })
    await wrong.settled()
    const row = await wrong.row()
    expect(row).toMatchObject({ failed_at: null, last_error: 'Resend answered 403 invalid_api_key' })
    expect(row.next_attempt_at).not.toBeNull()
  })

  it('is not sent by two at once, nor where its batch failed', async () => {
    const to = someone('plain')
    const { ctx, row, settled } = await mail(to, RESEND)
    await Promise.all(
      [1, 2, 3].map(() => sendDue(ctx.env, { waitUntil: () => undefined }, Date.now() + 60_000)),
    )
    await settled()
    expect(await row()).toMatchObject({ attempts: 1, sent_at: expect.any(String) })
    expect((await sentTo(to)).tries).toBe(1)

    const never = someone('plain')
    const statement = mailStatement(ctx, never, 'verify_email', LINK)
    // A mail of the same id: the batch fails as one.
    await expect(commit(ctx, { statements: [statement, statement], result: null })).rejects.toThrow()
    await settled()
    expect((await sentTo(never)).tries).toBe(0)
  }, 20_000)
})

describe('mail by a send_email binding', () => {
  it('goes out with sender, receiver and both texts', async () => {
    const sent: unknown[] = []
    const EMAIL = { send: async (message: unknown) => void sent.push(message) }
    const { row, settled } = await mail('ada@example.com', { ...SEND_EMAIL, EMAIL })
    await settled()
    expect(sent).toEqual([
      {
        from: { name: 'Causeway', email: 'mail@causeway.example' },
        to: 'ada@example.com',
        subject: 'Confirm your email address',
        text: expect.stringContaining(LINK),
        html: expect.stringContaining(LINK),
        headers: { 'X-Entity-Ref-ID': (await row()).id },
      },
    ])
    expect((await row()).sent_at).not.toBeNull()
  })

  it('is taken by the binding of the local runtime', async () => {
    const { row, settled } = await mail('allowed@example.com', SEND_EMAIL)
    await settled()
    expect(await row()).toMatchObject({ sent_at: expect.any(String), last_error: null, text: '' })
  })

  it('is tried again, or given up, by what the binding says', async () => {
    const other = await mail('other@example.com', SEND_EMAIL)
    await other.settled()
    const row = await other.row()
    expect(row).toMatchObject({ sent_at: null, failed_at: null })
    expect(row.last_error).toBe('the send_email binding refused: email to … not allowed')

    const refusing = (code: string) => ({
      send: async () => {
        throw Object.assign(new Error('for ada@example.com'), { code })
      },
    })
    const final = await mail('ada@example.com', { ...SEND_EMAIL, EMAIL: refusing('E_RECIPIENT_SUPPRESSED') })
    await final.settled()
    expect(await final.row()).toMatchObject({
      failed_at: expect.any(String),
      last_error: 'the send_email binding refused: E_RECIPIENT_SUPPRESSED',
    })
    const again = await mail('ada@example.com', { ...SEND_EMAIL, EMAIL: refusing('E_RATE_LIMIT_EXCEEDED') })
    await again.settled()
    expect(await again.row()).toMatchObject({ failed_at: null, next_attempt_at: expect.any(String) })
  })
})

describe('mail that nobody sends', () => {
  it('stays in the table, which development shows', async () => {
    for (const settings of [{}, { MAIL_PROVIDER: 'outbox' }]) {
      const { row, settled } = await mail(someone('plain'), settings)
      await settled()
      expect(await row()).toMatchObject({ attempts: 0, next_attempt_at: null, sent_at: null })
      expect((await row()).text).toContain(LINK)
    }
  })

  it('waits where it was to be sent, and goes out when somebody sends again', async () => {
    const to = someone('busy')
    const { row, settled, sweep } = await mail(to, RESEND)
    await settled()
    await env.DB.prepare('update mails set next_attempt_at = ? where id = ?')
      .bind(new Date(Date.now() - 60_000).toISOString(), (await row()).id)
      .run()
    expect(await sendDue(env as unknown as Bindings, { waitUntil: () => undefined }, Date.now())).toBe(0)
    expect(await row()).toMatchObject({ attempts: 1, sent_at: null, failed_at: null })
    expect(await sweep()).toMatchObject({ attempts: 2, sent_at: expect.any(String) })
  })

  it('is not sent late when somebody does', async () => {
    const { sweep, settled } = await mail(someone('plain'), {})
    await settled()
    expect((await sweep()).attempts).toBe(0)
  })
})

describe('the settings of mail', () => {
  it('are refused where the provider lacks what it needs', async () => {
    const wrong = [
      { MAIL_PROVIDER: 'smtp' },
      { MAIL_PROVIDER: 'resend', MAIL_FROM: 'mail@causeway.example' },
      { MAIL_PROVIDER: 'resend', RESEND_API_KEY: 're_x' },
      { ...RESEND, MAIL_FROM: 'no address' },
      { ...RESEND, MAIL_FROM: 'a@b.example, c@d.example' },
      { ...RESEND, MAIL_FROM: 'Evil\r\nBcc: x@y.example <a@b.example>' },
      { ...RESEND, RESEND_URL: 'ftp://resend.example' },
      { ...SEND_EMAIL, EMAIL: undefined },
    ]
    for (const settings of wrong) {
      const answer = await serviceWith(settings)('GET', 'http://localhost:8787/health')
      expect([settings, answer.status]).toEqual([settings, 500])
    }
    for (const settings of [RESEND, SEND_EMAIL, { ...RESEND, MAIL_FROM: 'a@b.example' }])
      expect((await serviceWith(settings)('GET', 'http://localhost:8787/health')).status).toBe(200)
  })
})

describe('old mail', () => {
  it('is deleted after thirty days, of one tenant', async () => {
    const { ctx, row } = await mail(someone('plain'), {})
    const day = 24 * 3600_000
    await dropOldMails({ ...ctx, now: ctx.now + 29 * day })
    expect(await row()).toMatchObject({ id: expect.any(String) })
    const other = await mail(someone('plain'), {})
    await dropOldMails({ ...ctx, now: ctx.now + 31 * day })
    await expect(row()).rejects.toThrow('no mail')
    expect(await other.row()).toMatchObject({ id: expect.any(String) })
  })
})

describe('the sweep', () => {
  it('sends what a crash left', async () => {
    const to = someone('plain')
    const { ctx } = await mail(to, { ...RESEND, MAIL_PROVIDER: 'outbox' })
    await env.DB.prepare('update mails set next_attempt_at = ? where tenant_id = ?')
      .bind(new Date(Date.now() - 10_000).toISOString(), ctx.tenant.id)
      .run()
    const { sweep } = await import('../../src/domains/webhooks/deliveries/sweep')
    const bindings = { ...env, ...RESEND } as unknown as Bindings
    expect(await sweep(bindings, { waitUntil: () => undefined })).toBeGreaterThan(0)
    await eventually(async () => (await sentTo(to)).tries === 1)
  })
})
