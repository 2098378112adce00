import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { PASSWORD, someone } from '../identity/kit'
import { callJson } from '../world'

const patient = { timeout: 30_000 }
type Onboarded = { tenant: Record<string, unknown> & { id: string }; user: Record<string, unknown> }

const newSlug = () => `o-${crypto.randomUUID().slice(0, 8)}`
const onboard = (body: object) =>
  callJson<Onboarded>('POST', '/api/v1/tenants/onboarding/public', {
    body: { name: 'Acme', slug: newSlug(), email: someone(), password: PASSWORD, ...body },
  })
const rows = async (sql: string, ...params: unknown[]) =>
  (
    await env.DB.prepare(sql)
      .bind(...params)
      .all()
  ).results

describe('onboarding', patient, () => {
  it('makes tenant and admin, and mails the admin a link', async () => {
    const slug = newSlug()
    const email = someone()
    const answer = await onboard({ slug, email, full_name: 'Ada' })
    expect(answer.status).toBe(201)
    const { tenant, user } = answer.data
    expect(tenant).toMatchObject({ slug, name: 'Acme', plan: 'starter', status: 'active', region: null })
    expect(tenant.settings).toEqual({
      open_registration: false,
      require_verified_email: false,
      max_users: 10,
      conversation_window_minutes: 30,
      payload_retention_days: 30,
      metadata_retention_days: 90,
      unknown_event_types: 'accept',
      service_enabled: true,
    })
    expect(user).toMatchObject({ email, full_name: 'Ada', role: 'admin', tenant_id: tenant.id })
    expect(JSON.stringify(answer.data)).not.toMatch(/scrypt|password|is_platform|cancelled_at/)
    expect(await rows('select "to" from mails where tenant_id = ?', tenant.id)).toEqual([{ to: email }])
    expect(await rows('select action from audit_log where tenant_id = ?', tenant.id)).toEqual([
      { action: 'tenant.create' },
    ])
    expect(await rows('select type from events where tenant_id = ?', tenant.id)).toEqual([
      { type: 'user.created' },
    ])
  })

  it('with one slug twice at once makes one tenant, and no orphans of the other', async () => {
    const slug = newSlug()
    const emails = [someone(), someone()]
    const answers = await Promise.all(emails.map((email) => onboard({ slug, email })))
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, 409])
    const loser = answers.findIndex((answer) => answer.status === 409)
    expect(answers[loser]?.error.code).toBe('slug_taken')
    expect(await rows('select id from tenants where slug = ?', slug)).toHaveLength(1)
    expect(await rows('select * from users where email = ?', emails[loser])).toEqual([])
    expect(await rows('select * from mails where "to" = ?', emails[loser])).toEqual([])
    for (const table of ['users', 'mails', 'mail_tokens', 'audit_log', 'events'])
      expect([
        table,
        await rows(
          `select x.tenant_id from ${table} as x left join tenants as t on t.id = x.tenant_id where t.id is null and x.tenant_id <> 'public'`,
        ),
      ]).toEqual([table, []])
  })

  it('names every wrong field', async () => {
    const answer = await onboard({
      name: '',
      slug: 'A B',
      email: 'x',
      password: 'short',
      plan: 'enterprise',
      full_name: '',
    })
    expect([answer.status, Object.keys(answer.error.details.fields ?? {}).sort()]).toEqual([
      422,
      ['email', 'full_name', 'name', 'password', 'plan', 'slug'],
    ])
    for (const slug of ['ab', 'a'.repeat(64), 'Abc', 'a_b', 'a.b', 'ä-b', '', crypto.randomUUID()])
      expect([slug, (await onboard({ slug, password: 'short' })).error.details.fields?.slug]).toEqual([
        slug,
        expect.any(String),
      ])
    for (const slug of ['abc', 'a'.repeat(63), '123', '---'])
      expect((await onboard({ slug, password: 'short' })).error.details.fields).not.toHaveProperty('slug')
  })
})
