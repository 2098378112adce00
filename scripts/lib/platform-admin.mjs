import { randomBytes, scryptSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { wrangler } from './wrangler.mjs'

/**
 * Makes a platform administrator, and the platform's tenant where there is none; an administrator who exists gets the
 * new password and is logged out. `where` are wrangler's own words: `--local --persist-to …` or `--remote --env …`.
 */
export async function makePlatformAdmin({ email, password, where }) {
  if (!/^[^\s@']+@[^\s@']+\.[^\s@']+$/.test(email)) throw new Error(`${email} is not an email address`)
  if ([...password].length < 10) throw new Error('The password must have at least 10 characters')
  // Not at the top: an older Node than the project's own can't read it, and has better told the user so by now.
  const { newId } = await import('../../src/lib/ids.ts')
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-'))
  try {
    const file = path.join(folder, 'platform-admin.sql')
    writeFileSync(file, platformAdminSql(email, password, newId), { mode: 0o600 })
    wrangler(['d1', 'execute', 'DB', ...where, '--yes', '--file', file])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What is said to D1 for that. */
export const platformAdminSql = (email, password, newId) =>
  statements(email.toLowerCase(), hashPassword(password), newId)

/** The PHC string that the service makes and verifies (src/domains/identity/users/password.ts). */
function hashPassword(password) {
  const salt = randomBytes(16)
  const key = scryptSync(password.normalize('NFKC'), salt, 32, {
    N: 2 ** 14,
    r: 8,
    p: 5,
    maxmem: 64 * 1024 * 1024,
  })
  const unpadded = (bytes) => bytes.toString('base64').replaceAll('=', '')
  return `$scrypt$ln=14,r=8,p=5$${unpadded(salt)}$${unpadded(key)}`
}

/** So long a change is told (TOLD_MS in src/data/tell.ts). */
const TOLD_MS = 3600_000

/**
 * Nothing in here comes from outside but the address, whose form was checked. What changed is written to state_changes
 * as the service writes it (src/data/tell.ts), before it changes: the sweeper tells it to a service that runs.
 */
function statements(email, hash, newId) {
  const at = Date.now()
  const [now, until] = [new Date(at).toISOString(), new Date(at + TOLD_MS).toISOString()]
  const [tenantId, userId, auditId] = [newId(at), newId(at), newId(at)]
  const admin = `FROM users WHERE email = '${email}' AND tenant_id = (SELECT id FROM tenants WHERE is_platform = 1)`
  const open = `ended_at IS NULL AND (tenant_id, user_id) = (SELECT tenant_id, id ${admin})`
  const tell = 'INSERT INTO state_changes (tenant_id, kind, id, until, data, told, created_at)'
  return `
INSERT INTO tenants (id, name, slug, plan, status, settings, is_platform, created_at, updated_at)
SELECT '${tenantId}', 'Platform', iif(EXISTS (SELECT 1 FROM tenants WHERE slug = 'platform'), 'platform-${tenantId.slice(-12)}', 'platform'),
  'enterprise', 'active', '{}', 1, '${now}', '${now}'
WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE is_platform = 1);

${tell}
SELECT tenant_id, 'user', id, '${until}',
  json_object('role', 'platform_admin', 'status', 'active', 'version', version + 1), 0, '${now}'
${admin} AND (role, status) <> ('platform_admin', 'active');

${tell}
SELECT tenant_id, 'session', id, '${until}', 'null', 0, '${now}' FROM sessions WHERE ${open};

INSERT INTO users (tenant_id, id, email, role, status, password_hash, preferences, email_verified_at, created_at, updated_at)
SELECT id, '${userId}', '${email}', 'platform_admin', 'active', '${hash}', '{}', '${now}', '${now}', '${now}'
FROM tenants WHERE is_platform = 1
ON CONFLICT (tenant_id, email) DO UPDATE SET role = excluded.role, status = excluded.status,
  password_hash = excluded.password_hash, version = version + 1, updated_at = excluded.updated_at;

UPDATE sessions SET ended_at = '${now}', version = version + 1 WHERE ${open};

INSERT INTO audit_log (tenant_id, seq, id, actor_kind, actor_id, action, resource, resource_id, after, created_at)
SELECT tenant_id, coalesce(CAST((SELECT max(seq) FROM audit_log
  WHERE tenant_id = users.tenant_id AND seq < ${Number.MAX_SAFE_INTEGER}) AS integer), 0) + 1, '${auditId}',
  'system', 'platform-admin', 'user.grant_platform', 'user', id, json_object('email', email, 'role', role),
  strftime('%Y-%m-%dT%H:%M:%fZ', 'now') ${admin};

INSERT INTO audit_unsealed (tenant_id, since) SELECT tenant_id, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') ${admin} ON CONFLICT DO NOTHING;
`
}
