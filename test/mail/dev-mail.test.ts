import { describe, expect, it } from 'vitest'
import { mailStatement } from '../../src/domains/mail/compose'
import { callJson, makeWorld } from '../world'

type Mail = { to: string; subject: string; text: string; html: string; created_at: string }

describe('the development mail box', () => {
  it('shows what was sent, newest first, to everybody', async () => {
    const { ctx } = await makeWorld()
    const later = { ...ctx, now: ctx.now + 60_000 }
    await mailStatement(ctx, 'first@example.com', 'verify_email', 'https://example.com/#token=a')
    await mailStatement(later, 'second@example.com', 'invitation', 'a-token')
    const box = await callJson<Mail[]>('GET', '/api/v1/dev/mail')
    expect(box.status).toBe(200)
    expect(box.data.length).toBeLessThanOrEqual(100)
    const mine = box.data.filter((mail) => /^(first|second)@/.test(mail.to)).map((mail) => mail.to)
    expect(mine.slice(0, 2)).toEqual(['second@example.com', 'first@example.com'])
    // Nobody sends it here.
    const shown = { attempts: 0, next_attempt_at: null, sent_at: null, failed_at: null, last_error: null }
    expect(box.data.find(({ to }) => to === 'second@example.com')).toMatchObject(shown)
  })

  it('has every mail as plain text and as HTML, where nothing of the text becomes markup', async () => {
    const { ctx } = await makeWorld()
    const link = 'https://example.com/?a=1&b="><script>alert(1)</script>'
    await mailStatement({ ...ctx, now: ctx.now + 120_000 }, 'html@example.com', 'verify_email', link)
    const box = await callJson<Mail[]>('GET', '/api/v1/dev/mail')
    const mail = box.data.find(({ to }) => to === 'html@example.com')
    expect(mail?.text).toContain(link)
    expect(mail?.html).not.toContain('<script>')
    expect(mail?.html).toContain('<a href="https://example.com/?a=1&amp;b=&quot;>&lt;script>')
  })
})
