import type { Settings } from '../env'
import { addressKind, isLoopback } from './ip-address'

// The one gate for every URL that a tenant gives (webhooks.md, "Outgoing addresses"): asked when the URL is saved and
// again before each call, since names, settings and the service's own hosts change in between.

type TargetSettings = Pick<
  Settings,
  'ENVIRONMENT' | 'ALLOW_PRIVATE_TARGETS' | 'PRIVATE_TARGET_HOSTS' | 'PUBLIC_URL'
> &
  Partial<Pick<Settings, 'ALLOWED_HOSTS'>>

const MAX_LENGTH = 2048

/** Names by which clouds serve a machine's credentials. */
const METADATA_NAMES = new Set([
  ...['metadata', 'metadata.google.internal', 'metadata.goog', 'instance-data', 'instance-data.ec2.internal'],
  ...['metadata.azure.internal', 'metadata.tencentyun.com', 'metadata.packet.net', 'rancher-metadata'],
  ...['metadata.platformequinix.com'],
])

/** Suffixes that only a private network resolves (RFC 6761, 6762, 8375, ICANN's .internal and collision list). */
const PRIVATE_SUFFIXES = [
  ...[
    'localhost',
    'local',
    'internal',
    'localdomain',
    'lan',
    'home',
    'home.arpa',
    'corp',
    'intranet',
    'private',
  ],
]

/** Public zones whose every name resolves to an address written in it, or to the caller's own machine. */
const WILDCARD_ZONES = [
  ...['nip.io', 'sslip.io', 'xip.io', 'localtest.me', 'lvh.me', 'vcap.me', 'lacolhost.com', 'traefik.me'],
  ...['local.gd', 'rbndr.us'],
]

/** Ports from 1024 on where something other than an HTTP receiver listens, and would act on what it is sent. */
const REFUSED_PORTS = new Set([
  ...[
    1433, 1434, 1521, 1719, 1720, 1723, 1883, 2049, 2181, 2375, 2376, 2377, 2379, 2380, 3268, 3269, 3306,
    3389,
  ],
  ...[
    3659, 4045, 4190, 4369, 5060, 5061, 5432, 5433, 5671, 5672, 5900, 5901, 5984, 5985, 5986, 6000, 6379,
    6380,
  ],
  ...[
    6432, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 7000, 7001, 7199, 7473, 7687, 8086, 8125,
    8300,
  ],
  ...[8301, 8500, 8883, 9042, 9092, 9160, 9200, 9300, 10080, 10250, 10255, 11211, 15672, 26257, 26379],
  ...[27017, 27018, 27019, 28015, 50070, 61613, 61616],
])

/** Why a tenant's URL may not be called, as a sentence for the field's error; null where it may. */
export function refusalOfTarget(url: string, settings: TargetSettings): string | null {
  if (url.length > MAX_LENGTH) return `must be at most ${MAX_LENGTH} characters`
  // The parser would drop or turn what other parsers keep, and the two must not disagree about the host.
  if (!/^https?:\/\/[^/\\\s]/i.test(url) || hasForbidden(url) || !URL.canParse(url))
    return 'must be an absolute https URL'
  const target = new URL(url)
  const host = plainHost(target.hostname)
  const lenient = settings.ALLOW_PRIVATE_TARGETS || settings.PRIVATE_TARGET_HOSTS.includes(host)
  if (target.protocol === 'http:' && settings.ENVIRONMENT !== 'development' && !lenient)
    return 'must be https'
  if (target.username !== '' || target.password !== '') return 'must not contain a user name or password'
  if (!portAllowed(target))
    return 'must use port 443, 80, 8443 or one from 1024 on that is not a known service’s'
  if (isMetadata(host)) return 'must not be the address of a cloud’s metadata service'
  if (isOwn(target, host, settings)) return 'must not be an address of this service itself'
  return lenient ? refusalOfMalformed(host) : refusalOfHost(host, settings.ENVIRONMENT === 'development')
}

/** Why a URL that a tenant gives may not be called, by what it says and by where its name leads; null where it may. */
export async function refusalOfUrl(
  url: string,
  settings: TargetSettings & Pick<Settings, 'DOH_URL'>,
): Promise<string | null> {
  return refusalOfTarget(url, settings) ?? refusalOfResolved(new URL(url).hostname, settings, askDns)
}

/**
 * Why a name's addresses may not be called, asked by DNS over HTTPS where `DOH_URL` is set; null where they may, and
 * for IP literals, which `refusalOfTarget` judges. Answers within three seconds; a name that can't be resolved is refused.
 */
export async function refusalOfResolved(
  hostname: string,
  settings: TargetSettings & Pick<Settings, 'DOH_URL'>,
  fetch: (url: string, init: RequestInit) => Promise<DnsAnswer>,
): Promise<string | null> {
  const host = plainHost(hostname)
  if (settings.DOH_URL === '' || addressKind(host) !== null) return null
  const lenient = settings.ALLOW_PRIVATE_TARGETS || settings.PRIVATE_TARGET_HOSTS.includes(host)
  const answers = await Promise.all(
    [A, AAAA].map((type) => resolve(settings.DOH_URL, host, type, fetch).catch(() => null)),
  )
  const addresses = answers.flatMap((answer) => answer ?? [])
  const kinds = addresses.map((address) => addressKind(address) ?? 'private')
  if (kinds.includes('metadata')) return 'must not resolve to the address of a cloud’s metadata service'
  // A vouched name may be known to the private network only.
  if (lenient) return null
  if (kinds.includes('private')) return 'must not resolve to a private address'
  if (answers.includes(null)) return 'could not be resolved by DNS; try again'
  return addresses.length === 0 ? 'must be a name that DNS resolves' : null
}

type DnsAnswer = { ok: boolean; json: () => Promise<unknown> }

/** What a resolver answered, by the question, and until when it is taken to hold. */
const known = new Map<string, { text: string; until: number }>()
/** Less than any name may be changed in on purpose, and enough that a busy endpoint does not ask for each attempt. */
const KNOWN_MS = 5_000
const MOST_KNOWN = 1_000

/** Asks a resolver; a name that has addresses is remembered for its time to live, five seconds at most. */
async function askDns(url: string, init: RequestInit): Promise<DnsAnswer> {
  const now = Date.now()
  const before = known.get(url)
  const read = (text: string) => async () => JSON.parse(text) as unknown
  if (before && before.until > now) return { ok: true, json: read(before.text) }
  const response = await fetch(url, init)
  const text = await response.text()
  const seconds = response.ok ? shortestLife(text) : 0
  if (known.size >= MOST_KNOWN) known.clear()
  if (seconds > 0) known.set(url, { text, until: now + Math.min(seconds * 1000, KNOWN_MS) })
  return { ok: response.ok, json: read(text) }
}

/** The shortest TTL of the records in an answer; 0 where there is none. */
function shortestLife(text: string): number {
  const lives = [...text.matchAll(/"TTL"\s*:\s*(\d+)/g)].map(([, seconds]) => Number(seconds))
  return lives.length === 0 ? 0 : Math.min(...lives)
}

const A = 1
const AAAA = 28
const RESOLVE_TIMEOUT_MS = 3000

/** The addresses of one type (application/dns-json, as Cloudflare and Google speak it). */
async function resolve(
  doh: string,
  host: string,
  type: number,
  fetch: (url: string, init: RequestInit) => Promise<DnsAnswer>,
): Promise<string[]> {
  const url = new URL(doh)
  url.searchParams.set('name', host)
  url.searchParams.set('type', type === A ? 'A' : 'AAAA')
  const signal = AbortSignal.timeout(RESOLVE_TIMEOUT_MS)
  const response = await fetch(url.href, { headers: { Accept: 'application/dns-json' }, signal })
  const document = (await response.json()) as { Status?: unknown; Answer?: unknown }
  // RFC 1035: 0 is NOERROR, 3 is NXDOMAIN; anything else is no answer.
  if (!response.ok || (document.Status !== 0 && document.Status !== 3)) throw new Error('no answer')
  const records = Array.isArray(document.Answer)
    ? (document.Answer as { type?: unknown; data?: unknown }[])
    : []
  return records.flatMap((record) =>
    record.type === type && typeof record.data === 'string' ? record.data : [],
  )
}

/** Whitespace, control characters and backslashes anywhere. */
const hasForbidden = (url: string) => [...url].some((char) => char <= ' ' || char === '\\' || char === '\x7f')

/** The host without the dots that end a fully qualified name. */
const plainHost = (hostname: string) => hostname.toLowerCase().replace(/\.+$/, '')

const endsIn = (host: string, suffix: string) => host === suffix || host.endsWith(`.${suffix}`)

const portOf = (url: URL) => (url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port))

function portAllowed(target: URL): boolean {
  const port = portOf(target)
  return port === 443 || port === 80 || (port >= 1024 && !REFUSED_PORTS.has(port))
}

const isMetadata = (host: string) => METADATA_NAMES.has(host) || addressKind(host) === 'metadata'

function isOwn(target: URL, host: string, settings: TargetSettings): boolean {
  const own = new URL(settings.PUBLIC_URL)
  const ownHost = plainHost(own.hostname)
  // On a laptop the service and a receiver share a host and differ by port.
  if (settings.ENVIRONMENT === 'development')
    return (
      portOf(target) === portOf(own) && (host === ownHost || (isThisMachine(host) && isThisMachine(ownHost)))
    )
  const hosts = (settings.ALLOWED_HOSTS ?? []).map((allowed) => plainHost(allowed.replace(/:\d+$/, '')))
  return host === ownHost || hosts.includes(host)
}

const isThisMachine = (host: string) => endsIn(host, 'localhost') || isLoopback(host)

function refusalOfMalformed(host: string): string | null {
  if (addressKind(host) !== null) return null
  const labels = host.split('.')
  // A last label of digits or hex is an IPv4 address to some parsers.
  const numeric = /^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')
  return numeric || labels.some((label) => label === '' || label.length > 63)
    ? 'must name a host that DNS can resolve'
    : null
}

function refusalOfHost(host: string, development: boolean): string | null {
  const kind = addressKind(host)
  if (kind !== null && !development) return 'must name a host, not an IP address'
  if (kind === 'private') return 'must not be a private address'
  if (kind !== null) return null
  if (!host.includes('.')) return 'must be a public host name with a domain'
  if ([...PRIVATE_SUFFIXES, ...WILDCARD_ZONES].some((suffix) => endsIn(host, suffix)))
    return 'must not be a name of a private network'
  return refusalOfMalformed(host)
}
