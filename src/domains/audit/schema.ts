import * as z from 'zod'
import { createdBetween, paging } from '../../lib/wire'

const text = (description: string) =>
  z.string().min(1, 'must not be empty').max(255).optional().meta({ description })

/** What chooses rows of the log, in lists and exports. */
export const auditFilters = {
  actor: text('Who did it: the id of a user or an API key, or the name of the service’s own worker.'),
  action: text('`resource.verb`, as in `api_key.revoke`.'),
  resource: text('The kind of thing: `user`, `endpoint`.'),
  resource_id: text('The thing itself.'),
  request_id: text('The `X-Request-ID` of the request that did it.'),
  ...createdBetween,
}
export const listAudit = { ...paging, ...auditFilters }
export const exportAudit = {
  format: z.enum(['csv', 'ndjson'], 'must be csv or ndjson').optional().meta({
    description: 'CSV (RFC 4180) or a JSON object a line; what `Accept` prefers where it is left out.',
  }),
  ...auditFilters,
}
export const verifyAudit = { cursor: paging.cursor }

const Shown = z.record(z.string(), z.unknown()).nullable()

export const AuditEntry = z
  .object({
    // What was changed by hand is shown as well, whatever it was made: of its columns only the types are relied on.
    seq: z.number().meta({
      type: 'integer',
      description: 'Counts the tenant’s rows from 1, without a gap.',
      example: 42,
    }),
    id: z.string().meta({ format: 'uuid' }),
    actor_kind: z.string().meta({ enum: ['user', 'api_key', 'system', 'anonymous'] }),
    actor_id: z.string().nullable(),
    impersonator_kind: z
      .string()
      .nullable()
      .meta({ enum: ['user', 'api_key', null] }),
    impersonator_id: z.string().nullable().meta({
      description: 'Who acted here from another tenant: a platform administrator, a partner’s user.',
    }),
    impersonator_tenant_id: z.string().nullable(),
    action: z.string().meta({ example: 'api_key.revoke' }),
    resource: z.string().meta({ example: 'api_key' }),
    resource_id: z.string(),
    address: z.string().nullable().meta({ example: '203.0.113.7' }),
    user_agent: z.string().nullable(),
    request_id: z.string().nullable(),
    before: Shown.meta({ description: 'What was there, as far as it changed; never a secret.' }),
    after: Shown.meta({ description: 'What is there now, as far as it changed; never a secret.' }),
    created_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'AuditEntry' })

export const Finding = z
  .object({
    code: z
      .enum([
        'row_missing',
        'row_unexpected',
        'altered',
        'seal_missing',
        'seal_altered',
        'key_unknown',
        'head_missing',
        'seal_overdue',
      ])
      .meta({
        description: [
          '`row_missing`, `row_unexpected`: numbers that are gone, or never were given. `altered`: rows, or their seal,',
          'that are not as they were sealed. `seal_missing`, `seal_altered`: seals that are gone, or do not follow one',
          'another. `key_unknown`: made under a master key that this service does not know. `head_missing`: nobody but the',
          'database knows of the last seal. `seal_overdue`: rows that wait for a seal that should have come.',
        ].join(' '),
      }),
    seal: z.int().nullable().meta({ description: 'The seal’s number; null for rows that none covers yet.' }),
    first_seq: z.number(),
    last_seq: z.number(),
  })
  .meta({ id: 'AuditFinding' })
export type Finding = z.output<typeof Finding>

export const Verification = z
  .object({
    status: z.enum(['intact', 'broken']).meta({ description: 'Of the part that this request looked at.' }),
    rows: z.int(),
    seals: z.int(),
    unsealed: z.int().meta({ description: 'Rows that wait for their seal; it comes within a minute.' }),
    sealed_through: z.int().meta({ description: 'The last row that the seals of this part cover.' }),
    head: z
      .object({ number: z.int(), last_seq: z.int(), seal: z.string(), sealed_at: z.iso.datetime() })
      .nullable()
      .meta({ description: 'The last seal as it is kept outside of the database.' }),
    findings: z.array(Finding),
    next_cursor: z
      .string()
      .nullable()
      .meta({ description: 'Sent as `cursor`, goes on with the next part; null where nothing is left.' }),
  })
  .meta({ id: 'AuditVerification' })
export type Verification = z.output<typeof Verification>

export type AuditFilters = z.output<z.ZodObject<typeof auditFilters>>
export type ListAudit = z.output<z.ZodObject<typeof listAudit>>
