import { describe, expect, it } from 'vitest'
import { addressKind, isLoopback } from '../../src/lib/ip-address'
import { refusalOfResolved, refusalOfTarget } from '../../src/lib/safe-url'

const production = {
  ENVIRONMENT: 'production' as const,
  ALLOW_PRIVATE_TARGETS: false,
  PRIVATE_TARGET_HOSTS: ['n8n.intranet', '10.1.2.3', 'metadata.google.internal'],
  PUBLIC_URL: 'https://api.example.com',
  ALLOWED_HOSTS: ['api.example.com', 'eu.example.com:8443'],
  DOH_URL: '',
}
const development = {
  ...production,
  ENVIRONMENT: 'development' as const,
  PRIVATE_TARGET_HOSTS: [],
  ALLOWED_HOSTS: [],
  PUBLIC_URL: 'http://localhost:8787',
}
const laptop = { ...development, ALLOW_PRIVATE_TARGETS: true }

const each = (
  settings: typeof production | typeof development,
  urls: string[],
  expected: RegExp | null,
): void => {
  for (const url of urls) {
    const refusal = refusalOfTarget(url, settings)
    if (expected === null) expect(refusal, url).toBeNull()
    else expect(refusal, url).toMatch(expected)
  }
}

describe('in production', () => {
  it('allows public names by https on the web ports and on free ones', () => {
    each(
      production,
      [
        'https://hooks.example.org/in?a=1#x',
        'https://hooks.example.org:443/',
        'https://hooks.example.org:8443/',
        'https://hooks.example.org:80/',
        'https://hooks.example.org:5678/webhook',
        'https://HOOKS.Example.ORG./',
        'https://bücher.example.org/',
        'https://10.example.org/',
        'https://metadata.example.org/',
      ],
      null,
    )
  })

  it('refuses what is not an absolute http URL, or is read differently by different parsers', () => {
    each(
      production,
      [
        '',
        'hooks.example.org',
        '//hooks.example.org/',
        'https:hooks.example.org',
        'https:///hooks.example.org',
        'https:\\\\hooks.example.org',
        'https://hooks.example.org\\@evil.example',
        'https://hooks.example.org/\n',
        ' https://hooks.example.org/',
        'https://hooks.exam\tple.org/',
        'https://hooks.example.org/a b',
        'https://',
        'https://[::1',
        'https://1.2.3.4.5/',
        'https://256.1.1.1/',
        'ftp://hooks.example.org/',
        'file:///etc/passwd',
        'javascript:alert(1)',
        'data:text/plain,x',
        'ws://hooks.example.org/',
        'gopher://hooks.example.org/',
      ],
      /absolute https URL/,
    )
    each(production, [`https://hooks.example.org/${'a'.repeat(2048)}`], /at most 2048/)
    each(production, ['http://hooks.example.org/'], /^must be https$/)
  })

  it('refuses user info', () => {
    each(production, ['https://a@hooks.example.org/', 'https://a:b@hooks.example.org/'], /user name/)
    each(
      production,
      ['https://api.stripe.com@169.254.169.254/', 'https://:b@hooks.example.org/'],
      /user name/,
    )
  })

  it('refuses privileged ports and those of known services', () => {
    const ports = [0, 1, 22, 25, 81, 1023, 2375, 3306, 3389, 5432, 6379, 6443, 9200, 10250, 11211, 27017]
    each(
      production,
      ports.map((port) => `https://hooks.example.org:${port}/`),
      /must use port/,
    )
  })

  it('refuses an IP literal of any form', () => {
    each(
      production,
      [
        ...['93.184.216.34', '127.0.0.1', '10.0.0.1', '127.1', '0177.0.0.1', '0x7f.0.0.1', '0x7f000001'],
        ...['2130706433', '017700000001', '127.0.0.1.', '%31%32%37.0.0.1', '①②⑦.⓪.⓪.①', '127。0。0。1', '0'],
        ...[
          '[::1]',
          '[::]',
          '[2606:4700::1111]',
          '[::ffff:93.184.216.34]',
          '[::ffff:5db8:d822]',
          '[fd00::1]',
        ],
      ].map((host) => `https://${host}/`),
      /must name a host, not an IP address/,
    )
  })

  it('refuses names of private networks, single labels and wildcard zones', () => {
    each(
      production,
      [
        ...[
          'localhost.localdomain',
          'a.localhost',
          'printer.local',
          'PRINTER.LOCAL.',
          'db.internal',
          'nas.lan',
        ],
        ...['router.home.arpa', 'wiki.corp', '127.0.0.1.nip.io', '10-0-0-1.sslip.io', 'a.lvh.me'],
      ].map((host) => `https://${host}/`),
      /private network/,
    )
    each(production, ['https://localhost/', 'https://redis/', 'https://intranet/'], /with a domain/)
    each(
      production,
      ['https://a..example.org/', `https://${'a'.repeat(64)}.example.org/`],
      /DNS can resolve|absolute/,
    )
  })

  it('refuses the service’s own hosts on every port', () => {
    each(
      production,
      [
        ...['https://api.example.com/', 'https://API.example.com./', 'https://api.example.com:8443/'],
        ...['https://eu.example.com/'],
      ],
      /service itself/,
    )
  })

  it('allows hosts that the operator vouches for, http too, but never metadata', () => {
    each(production, ['http://n8n.intranet:5678/webhook', 'https://n8n.intranet/', 'https://10.1.2.3/'], null)
    each(production, ['http://sub.n8n.intranet/'], /^must be https$/)
    each(production, ['https://n8n.intranet:6379/'], /must use port/)
    each(production, ['http://metadata.google.internal/'], /metadata service/)
  })
})

describe('metadata services', () => {
  it('are refused whatever the settings', () => {
    const urls = [
      ...[
        '169.254.169.254',
        '169.254.170.2',
        '169.254.170.23',
        '100.100.100.200',
        '192.0.0.192',
        '168.63.129.16',
      ],
      ...['0xa9fea9fe', '2852039166', '0251.0376.0251.0376', '169.254.43518', '169.254.169.254.'],
      ...['[fd00:ec2::254]', '[fd00:ec2::23]', '[fd20:ce::254]', '[::ffff:169.254.169.254]', '[::a9fe:a9fe]'],
      ...[
        '[64:ff9b::169.254.169.254]',
        '[64:ff9b:1::a9fe:a9fe]',
        '[2002:a9fe:a9fe::1]',
        '[::ffff:0:a9fe:a9fe]',
      ],
      ...['[2001:0:1:2::5601:5601]', '[fe80::5efe:a9fe:a9fe]', '[2606:4700::200:5efe:a9fe:a9fe]'],
      ...[
        'metadata.google.internal',
        'METADATA.google.internal.',
        'metadata',
        'instance-data',
        'metadata.goog',
      ],
    ].map((host) => `http://${host}/latest/meta-data/`)
    each(laptop, urls, /metadata service/)
    each(
      production,
      urls.map((url) => url.replace('http:', 'https:')),
      /metadata service/,
    )
  })
})

describe('in development', () => {
  it('allows http and public addresses, and refuses private ones unless they are allowed', () => {
    each(development, ['http://hooks.example.org/', 'http://93.184.216.34/'], null)
    each(
      development,
      ['http://127.0.0.1:9000/', 'http://192.168.0.2/', 'http://[::1]:9000/'],
      /private address/,
    )
    each(development, ['http://n8n:5678/'], /with a domain/)
    each(
      laptop,
      [
        ...['http://127.0.0.1:9000/', 'http://localhost:9000/', 'http://[::1]:9000/', 'http://192.168.0.2/'],
        ...['http://podcast-n8n:5678/webhook/test', 'http://host.docker.internal:5678/', 'http://nas.local/'],
        ...['http://10.0.0.1/', 'http://[fd00::1]/', 'https://hooks.example.org/'],
      ],
      null,
    )
  })

  it('refuses its own host at its own port, by whatever name of the machine', () => {
    const hosts = [
      'localhost',
      'LOCALHOST.',
      'a.localhost',
      '127.0.0.1',
      '127.9.9.9',
      '0.0.0.0',
      '0',
      '2130706433',
    ]
    const v6 = ['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:0:0]']
    each(
      laptop,
      [...hosts, ...v6].map((host) => `http://${host}:8787/`),
      /service itself/,
    )
  })

  it('still refuses user info, known services’ ports and other schemes', () => {
    each(laptop, ['http://a:b@127.0.0.1:9000/'], /user name/)
    each(laptop, ['http://127.0.0.1:6379/', 'http://127.0.0.1:22/'], /must use port/)
    each(laptop, ['ftp://127.0.0.1/'], /absolute https URL/)
    each(laptop, ['http://a..b/', `http://${'a'.repeat(64)}/`], /DNS can resolve|absolute/)
  })
})

describe('addressKind', () => {
  it('knows the special ranges at their edges', () => {
    const kinds = {
      public: ['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.255.255'],
      private: ['0.0.0.0', '10.255.255.255', '100.64.0.0', '100.127.255.255', '172.16.0.0', '172.31.255.255'],
      metadata: ['169.254.0.0', '169.254.255.255', '[::ffff:169.254.1.1]'],
    }
    kinds.public.push(
      '172.32.0.0',
      '192.0.1.0',
      '192.169.0.0',
      '198.17.255.255',
      '198.20.0.0',
      '223.255.255.255',
    )
    kinds.private.push(
      '192.168.255.255',
      '198.18.0.0',
      '198.19.255.255',
      '224.0.0.1',
      '240.0.0.1',
      '255.255.255.255',
    )
    kinds.public.push('[2606:4700::1111]', '2a00::1', '[64:ff9b::1.1.1.1]', '[2002:101:101::1]')
    kinds.private.push(
      '[::1]',
      '[::]',
      '[fc00::1]',
      '[fe80::1]',
      '[ff02::1]',
      '[2001:db8::1]',
      '[3fff:fff::1]',
    )
    kinds.private.push(
      '[::ffff:10.0.0.1]',
      '[64:ff9b::a00:1]',
      '[2002:a00:1::]',
      '[64:ff9b:1::1]',
      '[100::1]',
    )
    for (const [kind, hosts] of Object.entries(kinds))
      for (const host of hosts) expect(addressKind(host), host).toBe(kind)
    for (const name of ['example.org', '1.2.3', '1.2.3.4.5', '256.1.1.1', 'a:b', '']) {
      expect(addressKind(name), name).toBeNull()
      expect(isLoopback(name), name).toBe(false)
    }
    expect(isLoopback('[2606:4700::1]')).toBe(false)
    expect(isLoopback('128.0.0.1')).toBe(false)
  })
})

describe('refusalOfResolved', () => {
  const withDoh = { ...production, DOH_URL: 'https://dns.example/dns-query?ct=1' }
  const asked: string[] = []
  const answering =
    (records: Record<string, unknown[]>, status = 0) =>
    async (url: string, init: RequestInit) => {
      asked.push(url)
      expect(new Headers(init.headers).get('Accept')).toBe('application/dns-json')
      const type = new URL(url).searchParams.get('type') ?? ''
      return Response.json({ Status: status, Answer: records[type] })
    }
  const a = (data: string) => ({ name: 'x', type: 1, TTL: 60, data })
  const aaaa = (data: string) => ({ name: 'x', type: 28, TTL: 60, data })
  const cname = (data: string) => ({ name: 'x', type: 5, TTL: 60, data })

  it('asks for both kinds of address and allows public ones', async () => {
    asked.length = 0
    const fetch = answering({
      A: [cname('y.example.org.'), a('93.184.216.34')],
      AAAA: [aaaa('2606:4700::1')],
    })
    expect(await refusalOfResolved('hooks.example.org.', withDoh, fetch)).toBeNull()
    expect(asked).toEqual([
      'https://dns.example/dns-query?ct=1&name=hooks.example.org&type=A',
      'https://dns.example/dns-query?ct=1&name=hooks.example.org&type=AAAA',
    ])
  })

  it('refuses when any answer is private', async () => {
    const refused = [
      { A: [a('93.184.216.34'), a('10.0.0.1')] },
      { A: [a('93.184.216.34')], AAAA: [aaaa('::ffff:127.0.0.1')] },
      { AAAA: [aaaa('fd00::1')] },
      { A: [a('not an address')] },
    ]
    for (const records of refused)
      expect(await refusalOfResolved('hooks.example.org', withDoh, answering(records))).toMatch(
        /private address/,
      )
  })

  it('allows private answers, and none, of what the operator allows; metadata never', async () => {
    const local = { ...withDoh, ALLOW_PRIVATE_TARGETS: true }
    expect(await refusalOfResolved('n8n.intranet', withDoh, answering({ A: [a('10.0.0.1')] }))).toBeNull()
    expect(await refusalOfResolved('nas.lan', local, answering({}, 3))).toBeNull()
    for (const settings of [withDoh, local])
      expect(
        await refusalOfResolved('n8n.intranet', settings, answering({ A: [a('169.254.169.254')] })),
      ).toMatch(/metadata/)
  })

  it('refuses a name that DNS does not know, and one that could not be asked for', async () => {
    expect(await refusalOfResolved('nope.example.org', withDoh, answering({}, 3))).toMatch(/DNS resolves/)
    expect(await refusalOfResolved('nope.example.org', withDoh, answering({}, 2))).toMatch(/try again/)
    const failing = async () => Promise.reject(new Error('down'))
    expect(await refusalOfResolved('nope.example.org', withDoh, failing)).toMatch(/try again/)
    const broken = async () => new Response('<html>', { status: 502 })
    expect(await refusalOfResolved('nope.example.org', withDoh, broken)).toMatch(/try again/)
  })

  it('asks nothing for IP literals, or where no resolver is set', async () => {
    const never = async () => Promise.reject(new Error('asked'))
    expect(await refusalOfResolved('[::1]', withDoh, never)).toBeNull()
    expect(await refusalOfResolved('hooks.example.org', production, never)).toBeNull()
  })
})
