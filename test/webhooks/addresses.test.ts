import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { makeAttempt, type Request } from '../../src/domains/webhooks/deliveries/attempt'
import { settingsOf } from '../../src/env'
import { Isolate } from '../identity/isolates'
import type { Seen } from '../receiver/hooks'
import { makeWorld, requestContext, type World } from '../world'
import { makeReceiver } from './receiver'

// What a tenant may have called, asked where it is saved and where it is called; the rule itself: test/lib/safe-url.test.ts.

const LITERALS = [
  ...['127.0.0.1', '10.0.0.1', '192.168.1.1', '172.16.0.1', '100.64.0.1', '0.0.0.0', '93.184.216.34'],
  // Decimal, octal, hex, short, mixed, with a dot at its end, in other digits and dots.
  ...['2130706433', '0177.0.0.1', '017700000001', '0x7f000001', '0x7f.0.0.1', '127.1', '127.0.1', '0'],
  ...[
    '0x7f.1',
    '0177.0x0.1',
    '127.0.0.1.',
    '%31%32%37.0.0.1',
    '①②⑦.⓪.⓪.①',
    '１２７.０.０.１',
    '127。0。0。1',
  ],
  // IPv6, and every form of it that carries an IPv4 address.
  ...['[::]', '[::1]', '[0:0:0:0:0:0:0:1]', '[2606:4700::1111]', '[fc00::1]', '[fd12:3456::1]', '[fec0::1]'],
  ...[
    '[ff02::1]',
    '[::127.0.0.1]',
    '[::7f00:1]',
    '[::ffff:127.0.0.1]',
    '[::FFFF:7F00:1]',
    '[::ffff:0:7f00:1]',
  ],
  ...['[64:ff9b::7f00:1]', '[64:ff9b:1::7f00:1]', '[2002:7f00:1::]', '[2001:0:7f00:1::]', '[2001:db8::1]'],
  ...['[fe80::5efe:7f00:1]', '[2001:470::5efe:10.0.0.1]', '[fe80::1]', '[100::1]', '[5f00::1]'],
]
const METADATA = [
  ...['169.254.169.254', '2852039166', '0xa9fea9fe', '0251.0376.0251.0376', '[::ffff:169.254.169.254]'],
  ...['169.254.170.2', '100.100.100.200', '168.63.129.16', '192.0.0.192', '[fd00:ec2::254]'],
  ...['[fd20:ce::254]', '[fe80::a9fe:a9fe]', '[fd00:42::42]', '[64:ff9b::a9fe:a9fe]', '[2002:a9fe:a9fe::]'],
  ...['metadata.google.internal', 'METADATA.google.internal.', 'metadata.azure.internal', 'instance-data'],
]
const NAMES = [
  ...['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'localhost.localdomain', 'printer.local'],
  ...['db.internal', 'vault.corp', 'nas.lan', 'router.home.arpa', 'redis', '127.0.0.1.nip.io', 'x.rbndr.us'],
]
const URLS = [
  ...['https://user@hooks.example.org/', 'https://user:pass@hooks.example.org/', 'https://@169.254.169.254/'],
  ...['https://hooks.example.org@169.254.169.254/', 'https://hooks.example.org:80@127.0.0.1/'],
  ...['https://hooks.example.org\\@127.0.0.1/', 'https:\\\\127.0.0.1/', 'https:/127.0.0.1/', '//127.0.0.1/'],
  ...['https://hooks.example.org/\r\nhost: a', ' https://hooks.example.org/', 'https://hooks.exam\tple.org/'],
  ...['ftp://hooks.example.org/', 'file:///etc/passwd', 'javascript:alert(1)', 'data:text/html,x', 'hooks'],
  ...['https://', 'https://[::1', 'https://[fe80::1%25eth0]/', 'https://[v1.a]/', 'https://1.2.3.4.5/'],
  ...['https://256.256.256.256/', 'https://a..example.org/', `https://${'a'.repeat(64)}.example.org/`],
  ...[`https://hooks.example.org/${'a'.repeat(2048)}`, ''],
]
const PORTS = [0, 1, 21, 22, 23, 25, 53, 81, 110, 445, 465, 1023, 2375, 3306, 5432, 6379, 9200, 11211, 27017]

/** As it is deployed for a staging: what production refuses, over plain http. */
const deployed = (more: Record<string, string> = {}) =>
  new Isolate({ ENVIRONMENT: 'staging', ALLOW_PRIVATE_TARGETS: 'false', ...more } as object)

type Answer = { data?: { id: string; url: string }; error?: { details: { fields?: Record<string, string> } } }

async function ask(isolate: Isolate, world: World, method: string, path: string, body: object) {
  const answer = await isolate.ask(method, `/api/v1/webhooks${path}`, { token: world.developer.token, body })
  return { status: answer.status, ...((await answer.json()) as Answer) }
}

const rowsOf = (world: World) =>
  env.DB.prepare('select url from endpoints where tenant_id = ?').bind(world.tenant.id).all<{ url: string }>()

describe('an endpoint’s URL', { timeout: 30_000 }, () => {
  const refused = [
    ...[...LITERALS, ...METADATA, ...NAMES].flatMap((host) => [
      `https://${host}/`,
      `https://${host}:8443/in`,
    ]),
    ...LITERALS.map((host) => `http://${host}/`),
    ...PORTS.map((port) => `https://hooks.example.org:${port}/`),
    ...URLS,
  ]

  it('is refused by name over the whole list, when it is made and when it is changed', async () => {
    const world = await makeWorld()
    const isolate = deployed()
    const good = 'https://hooks.example.org/in'
    const made = await ask(isolate, world, 'POST', '', { url: good, event_types: ['a'] })
    expect(made.status).toBe(201)
    for (const url of refused) {
      const [created, changed] = [
        await ask(isolate, world, 'POST', '', { url, event_types: ['a'] }),
        await ask(isolate, world, 'PATCH', `/${made.data?.id}`, { url }),
      ]
      for (const { status, error } of [created, changed]) {
        expect([url, status]).toEqual([url, 422])
        expect([url, Object.keys(error?.details.fields ?? {})]).toEqual([url, ['url']])
        expect(error?.details.fields?.url).toMatch(/^(?:must|could)\b/)
      }
    }
    expect((await rowsOf(world)).results).toEqual([{ url: good }])
  })

  it('of a metadata service is refused also where private ones are allowed', async () => {
    const world = await makeWorld()
    const settings = { ALLOW_PRIVATE_TARGETS: 'true', PRIVATE_TARGET_HOSTS: METADATA.join(',') }
    const isolate = new Isolate(settings as object)
    for (const host of METADATA) {
      const made = await ask(isolate, world, 'POST', '', { url: `http://${host}/`, event_types: ['a'] })
      expect([host, made.error?.details.fields?.url]).toEqual([host, expect.stringMatching(/metadata/)])
    }
    expect((await rowsOf(world)).results).toEqual([])
  })

  it('is taken where it is a public name, or one that the operator vouches for', async () => {
    const world = await makeWorld()
    const isolate = deployed({ PRIVATE_TARGET_HOSTS: 'N8N.intranet' })
    const taken = [
      ...['https://hooks.example.org/', 'https://hooks.example.org:8443/a?b=c', 'https://bücher.example/'],
      ...['https://hooks.example.org:5678/webhook', 'http://n8n.intranet:5678/webhook'],
    ]
    for (const url of taken)
      expect([url, (await ask(isolate, world, 'POST', '', { url, event_types: ['a'] })).status]).toEqual([
        url,
        201,
      ])
  })

  it('is looked up where a resolver is set', async () => {
    const world = await makeWorld()
    const make = async (addresses: string) => {
      const key = crypto.randomUUID()
      const isolate = deployed({ DOH_URL: `${env.RECEIVER_URL}/hook/dns?key=${key}&${addresses}` })
      const body = { url: 'https://hooks.example.org/', event_types: ['a'] }
      return ask(isolate, world, 'POST', '', body)
    }
    expect((await make('A=93.184.216.34&AAAA=2606:4700::1111')).status).toBe(201)
    for (const [addresses, why] of [
      ['A=10.0.0.1', /private address/],
      ['A=93.184.216.34,127.0.0.1', /private address/],
      ['A=93.184.216.34&AAAA=::ffff:10.0.0.1', /private address/],
      ['AAAA=fd00::1', /private address/],
      ['A=169.254.169.254', /metadata/],
      ['AAAA=64:ff9b::a9fe:a9fe', /metadata/],
      ['A=', /DNS resolves/],
    ] as const) {
      const { status, error } = await make(addresses)
      expect([addresses, status]).toEqual([addresses, 422])
      expect(error?.details.fields?.url).toMatch(why)
    }
    expect((await rowsOf(world)).results).toHaveLength(1)
  })
})

it('a request never reaches the zone’s own origin: the runtime takes every name for one of the internet', () => {
  const files = import.meta.glob<string>('../../wrangler.toml', {
    ...{ query: '?raw', import: 'default', eager: true },
  })
  const [text = ''] = Object.values(files)
  const flags = [...text.matchAll(/^compatibility_flags = \[(.*)\]/gm)].map(([, list = '']) => list)
  expect(flags.length).toBeGreaterThan(0)
  for (const list of flags) expect(list).toContain('"global_fetch_strictly_public"')
})

describe('an attempt', { timeout: 20_000 }, () => {
  const request = (url: string, timeout_ms = 2000): Request => ({
    ...{
      url,
      headers: {},
      masked: {},
      values: [],
      refusal: null,
      secrets: [],
      signers: [],
      profile: 'standard',
    },
    ...{ timeout_ms, event_id: 'msg_1', body: '{}', number: 1, begins: Date.now(), trace_id: null },
  })
  const settings = (query: string) => ({
    ...settingsOf(requestContext().env),
    DOH_URL: `${env.RECEIVER_URL}/hook/dns?${query}`,
  })
  const asked = async (key: string): Promise<string[]> => {
    const seen = (await (await fetch(`${env.RECEIVER_URL}/hook/seen?key=${key}`)).json()) as Seen[]
    return seen.map(({ method }) => method).sort()
  }
  /** The receiver under a name that the machine itself resolves, so that there is something to look up. */
  const named = (url: string) => url.replace('127.0.0.1', 'localhost')

  it('looks again, and sends nothing where the name leads elsewhere by now', async () => {
    const receiver = await makeReceiver({})
    const good = await makeAttempt(request(named(receiver.url)), settings('A=127.0.0.1'))
    expect(good.attempt).toMatchObject({ response_status: 200, error: null })
    const moved = await makeAttempt(request(named(receiver.url)), settings('A=169.254.169.254'))
    expect(moved.attempt).toMatchObject({
      response_status: null,
      error: 'address: the URL must not resolve to the address of a cloud’s metadata service',
    })
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('asks the resolver once in five seconds, and each time where the name may change at once', async () => {
    const receiver = await makeReceiver({})
    for (const [ttl, times] of [
      [60, 1],
      [0, 3],
    ] as const) {
      const key = crypto.randomUUID()
      for (let n = 0; n < 3; n++)
        await makeAttempt(
          request(named(receiver.url)),
          settings(`key=${key}&A=127.0.0.1&AAAA=::1&ttl=${ttl}`),
        )
      const expected = [...Array<string>(times).fill('A'), ...Array<string>(times).fill('AAAA')]
      expect([ttl, await asked(key)]).toEqual([ttl, expected])
    }
  })

  it('has its time for the look as well: a resolver that hangs does not make it longer', async () => {
    const receiver = await makeReceiver({})
    const strict = { ...settings('hang=1'), ALLOW_PRIVATE_TARGETS: false }
    const { attempt } = await makeAttempt(request('https://hooks.example.org/', 1000), strict)
    expect(attempt.error).toBe('timeout: no complete answer within 1000 ms')
    expect(attempt.duration_ms).toBeLessThan(1500)
    expect(await receiver.seen()).toEqual([])
  })
})
