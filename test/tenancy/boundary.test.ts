import { beforeAll, describe, expect, it } from 'vitest'
import { seedPartner } from '../contract/seeds'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { callJson, makePlatformAdmin, makeWorld, type Person, renew, type World } from '../world'

// Who gets where, by every kind of credential, the headers that name a tenant, and SINGLE_TENANT_ID: one table.

type TenantName = 'home' | 'customer' | 'stranger' | 'platform'
type Who = 'user' | 'key' | 'partner' | 'platform'

let worlds: { home: World; customer: World; stranger: World }
let platform: Person
let partnerUser: Person
/** For each kind of credential anew: routes about the caller have a window of sixty a minute. */
async function newWorlds() {
  worlds = { home: await makeWorld(), customer: await makeWorld(), stranger: await makeWorld() }
  platform = await makePlatformAdmin()
  // His partner has the customer, and he logs in at home.
  partnerUser = worlds.home.developer
  const partnerId = await seedPartner(worlds.customer)
  await callJson('PUT', `/api/v1/partners/${partnerId}/users/${partnerUser.user.id}`, {
    token: platform.token,
  })
  await renew(partnerUser)
  services.clear()
}

const services = new Map<TenantName | undefined, ReturnType<typeof serviceWith>>()
function serviceFor(pin: TenantName | undefined) {
  const service = services.get(pin) ?? serviceWith(pin ? { SINGLE_TENANT_ID: idOf(pin) } : {})
  services.set(pin, service)
  return service
}

const idOf = (name: TenantName): string =>
  name === 'platform' ? platform.user.tenant_id : worlds[name].tenant.id

function credential(who: Who): Record<string, string> {
  if (who === 'key') return { 'X-API-Key': worlds.home.apiKey }
  const token = { user: worlds.home.admin, partner: partnerUser, platform }[who].token
  return { Authorization: `Bearer ${token}` }
}

const ROUTES = {
  tenant: '/api/v1/users?limit=1',
  me: '/api/v1/auth/me',
  platform: '/api/platform/tenants?limit=1',
  partners: '/api/v1/partners?limit=1',
  portal: '/api/v1/partners/portal',
}

const HEADERS = {
  tenant: 'X-Tenant-ID',
  client: 'X-Client-ID',
  target: 'X-Target-Tenant-ID',
  active: 'X-Active-Tenant-Id',
}

/** What the routes answer, in their order: the tenant that the answer is of, `ok` where it is of none, or the code. */
type Row = readonly [tenant: string, me: string, platform: string, partners: string, portal: string]
const everywhere = (code: string): Row => [code, code, code, code, code]
const MISMATCH = everywhere('tenant_mismatch')

const AS_USER: Row = ['home', 'home', 'platform_only', 'platform_only', 'partner_required']
const AS_PARTNER: Row = ['home', 'home', 'platform_only', 'platform_only', 'ok']
const AS_PLATFORM: Row = ['target_tenant_required', 'platform', 'ok', 'ok', 'partner_required']
/** Routes about the caller, and the platform's own, stay what they are. */
const PARTNER_IN_CUSTOMER: Row = ['customer', 'home', 'platform_only', 'platform_only', 'ok']
const PLATFORM_IN_CUSTOMER: Row = ['customer', 'platform', 'ok', 'ok', 'partner_required']

type Named = Partial<Record<keyof typeof HEADERS, TenantName | 'nobody'>>
type Case = { pin?: TenantName; who: Who; named: Named; answers: Row }

const rows = (pin: TenantName | undefined, who: Who, some: [Named, Row][]): Case[] =>
  some.map(([named, answers]) => ({ ...(pin ? { pin } : {}), who, named, answers }))

const OF_A_TENANT: [Named, Row][] = [
  [{}, AS_USER],
  [{ tenant: 'home' }, AS_USER],
  [{ client: 'home' }, AS_USER],
  [{ target: 'home' }, AS_USER],
  [{ active: 'home' }, AS_USER],
  [{ tenant: 'home', client: 'home', target: 'home', active: 'home' }, AS_USER],
  [{ tenant: 'customer' }, MISMATCH],
  [{ client: 'customer' }, MISMATCH],
  [{ tenant: 'home', client: 'customer' }, MISMATCH],
  [{ target: 'customer' }, MISMATCH],
  [{ active: 'customer' }, MISMATCH],
  [{ active: 'platform' }, MISMATCH],
  [{ target: 'nobody' }, MISMATCH],
  [{ target: 'home', active: 'customer' }, MISMATCH],
]

const CASES: Case[] = [
  ...rows(undefined, 'user', OF_A_TENANT),
  ...rows(undefined, 'key', OF_A_TENANT),
  ...rows(undefined, 'partner', [
    [{}, AS_PARTNER],
    [{ active: 'home' }, AS_PARTNER],
    [{ tenant: 'home' }, AS_PARTNER],
    [{ active: 'customer' }, PARTNER_IN_CUSTOMER],
    [{ active: 'customer', target: 'customer' }, PARTNER_IN_CUSTOMER],
    // X-Tenant-ID says where the request is answered: of these routes acting moves the first and the last.
    [
      { active: 'customer', tenant: 'customer' },
      ['customer', 'tenant_mismatch', 'tenant_mismatch', 'tenant_mismatch', 'ok'],
    ],
    [
      { active: 'customer', tenant: 'home' },
      ['tenant_mismatch', 'home', 'platform_only', 'platform_only', 'tenant_mismatch'],
    ],
    [{ tenant: 'customer' }, MISMATCH],
    [{ target: 'customer' }, MISMATCH],
    [{ active: 'stranger' }, MISMATCH],
    [{ active: 'platform' }, MISMATCH],
    [{ active: 'nobody' }, MISMATCH],
    [{ active: 'customer', target: 'home' }, MISMATCH],
  ]),
  ...rows(undefined, 'platform', [
    [{}, AS_PLATFORM],
    [{ tenant: 'platform' }, AS_PLATFORM],
    [{ active: 'platform' }, AS_PLATFORM],
    [{ target: 'customer' }, PLATFORM_IN_CUSTOMER],
    [{ target: 'customer', active: 'customer' }, PLATFORM_IN_CUSTOMER],
    [{ target: 'platform' }, ['platform', 'platform', 'ok', 'ok', 'partner_required']],
    [
      { target: 'customer', tenant: 'customer' },
      ['customer', 'tenant_mismatch', 'tenant_mismatch', 'tenant_mismatch', 'partner_required'],
    ],
    [
      { target: 'customer', client: 'platform' },
      ['tenant_mismatch', 'platform', 'ok', 'ok', 'tenant_mismatch'],
    ],
    [{ target: 'nobody' }, MISMATCH],
    [{ tenant: 'customer' }, MISMATCH],
    [{ active: 'customer' }, MISMATCH],
    [{ target: 'customer', active: 'stranger' }, MISMATCH],
  ]),
  // Pinned to where they log in: as ever, but nobody acts elsewhere.
  ...rows('home', 'user', [
    [{}, AS_USER],
    [{ tenant: 'home' }, AS_USER],
    [{ active: 'home' }, AS_USER],
    [{ tenant: 'customer' }, MISMATCH],
    [{ active: 'customer' }, MISMATCH],
  ]),
  ...rows('home', 'key', [
    [{}, AS_USER],
    [{ target: 'customer' }, MISMATCH],
  ]),
  ...rows('home', 'partner', [
    [{}, AS_PARTNER],
    [{ active: 'home' }, AS_PARTNER],
    [{ active: 'customer' }, MISMATCH],
  ]),
  ...rows('platform', 'platform', [
    [{}, AS_PLATFORM],
    [{ target: 'platform' }, ['platform', 'platform', 'ok', 'ok', 'partner_required']],
    [{ target: 'customer' }, MISMATCH],
  ]),
  // Pinned to another: no header makes a credential that tenant's.
  ...(['user', 'key', 'partner', 'platform'] as const).flatMap((who) =>
    rows('customer', who, [
      [{}, MISMATCH],
      [{ tenant: 'customer' }, MISMATCH],
      [{ target: 'customer' }, MISMATCH],
      [{ active: 'customer' }, MISMATCH],
      [{ target: 'customer', active: 'customer', tenant: 'customer' }, MISMATCH],
    ]),
  ),
]

async function answerOf({ pin, who, named }: Case, path: string): Promise<string> {
  const headers = { ...credential(who) }
  for (const [header, tenant] of Object.entries(named))
    headers[HEADERS[header as keyof typeof HEADERS]] =
      tenant === 'nobody' ? '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' : idOf(tenant)
  const answer = await serviceFor(pin)('GET', `http://localhost:8787${path}`, { headers })
  const { data, error } = (await answer.json()) as {
    data?: { tenant_id?: string } | { tenant_id?: string }[]
    error?: { code: string }
  }
  if (error) return `${answer.status === 403 ? '' : `${answer.status} `}${error.code}`
  if (path !== ROUTES.tenant && path !== ROUTES.me) return 'ok'
  const tenantId = [data].flat()[0]?.tenant_id
  const names: TenantName[] = ['home', 'customer', 'stranger', 'platform']
  return names.find((name) => idOf(name) === tenantId) ?? `${tenantId}`
}

const titleOf = ({ pin, who, named }: Case) => {
  const headers = Object.entries(named).map(([header, tenant]) => `${header}=${tenant}`)
  return `${pin ? `pinned to ${pin}: ` : ''}${who}, ${headers.join(' ') || 'no header'}`
}

const KINDS: Who[] = ['user', 'key', 'partner', 'platform']
for (const who of KINDS)
  describe(`who gets where: ${who}`, () => {
    beforeAll(newWorlds)

    for (const one of CASES.filter((some) => some.who === who))
      it(titleOf(one), async () => {
        const answers: string[] = []
        for (const path of Object.values(ROUTES)) answers.push(await answerOf(one, path))
        expect(answers).toEqual(one.answers)
      })

    for (const header of Object.values(HEADERS))
      it(`${header} that is no id is malformed, whatever else it is`, async () => {
        const headers = { ...credential(who), [header]: 'acme' }
        const answer = serviceFor(undefined)('GET', `http://localhost:8787${ROUTES.tenant}`, { headers })
        const { details } = await expectError(answer, 'malformed_header')
        expect(details).toEqual({ header })
      })
  })
