// Which network an IP literal belongs to. Reads the forms that a WHATWG URL prints (it has already turned decimal,
// octal, hex and short IPv4 into dotted decimal) and IPv4 wherever IPv6 carries one.

/** `metadata` hands out a machine's credentials and is never a target; `private` is everything not on the open Internet. */
export type AddressKind = 'public' | 'private' | 'metadata'

type Range = { bits: number; network: number }

const range = (cidr: string): Range => {
  const [address = '', bits = '32'] = cidr.split('/')
  return { bits: Number(bits), network: ipv4(address) ?? 0 }
}

/** IANA IPv4 Special-Purpose Address Registry, with multicast and the reserved class E. */
const PRIVATE_V4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24'],
  ...['203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
].map(range)

/** Link-local (AWS, Azure, Google, ECS and EKS credentials), Alibaba, Oracle, Azure's wire server. */
const METADATA_V4 = ['169.254.0.0/16', '100.100.100.200/32', '192.0.0.192/32', '168.63.129.16/32'].map(range)

/** AWS, EKS Pod Identity, Google, OpenStack, Scaleway. */
const METADATA_V6 = [
  [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
  [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
  [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
  [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
  [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],
]

/** The kind of an IP literal (IPv6 with or without brackets); null where `host` is a name. */
export function addressKind(host: string): AddressKind | null {
  const v4 = ipv4(host)
  if (v4 !== null) return kindOfV4(v4)
  const v6 = ipv6(host)
  return v6 && kindOfV6(v6)
}

/** Whether an IP literal means this very machine: 127.0.0.0/8, ::1, and the unspecified addresses, which connect to it. */
export function isLoopback(host: string): boolean {
  const v6 = ipv6(host)
  if (v6?.slice(0, 7).every((group) => group === 0) && (v6[7] ?? 2) < 2) return true
  const v4 = v6 ? embeddedV4(v6)[0] : ipv4(host)
  return v4 !== undefined && v4 !== null && (v4 >>> 24 === 127 || v4 === 0)
}

/** The network that limits count an IP literal by: IPv4 itself (mapped into IPv6 too), else the /64; null for a name. */
export function networkOf(host: string): string | null {
  if (ipv4(host) !== null) return host
  const v6 = ipv6(host)
  if (!v6) return null
  const [, , , , , mapped, high = 0, low = 0] = v6
  if (mapped === 0xffff && v6.slice(0, 5).every((group) => group === 0))
    return [high >>> 8, high & 255, low >>> 8, low & 255].join('.')
  const prefix = v6.slice(0, 4).map((group) => group.toString(16))
  return `${prefix.join(':')}::/64`
}

/** A block of addresses; IPv4 as IPv6 carries it. */
export type Network = { groups: readonly number[]; bits: number }

/** The block that CIDR notation names, or one address alone; null for anything else. */
export function networkFrom(text: string): Network | null {
  const [, address = '', length] = /^([^/[\]]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const groups = groupsOf(address)
  if (!groups) return null
  const outside = address.includes(':') ? 0 : 96
  const bits = length === undefined ? 128 : outside + Number(length)
  return bits <= 128 ? { groups, bits } : null
}

/** Whether an IP literal lies in a block. */
export function isWithin(network: Network, address: string): boolean {
  const groups = groupsOf(address)
  return groups !== null && isPartOf(network, { groups, bits: 128 })
}

/** Whether every address of a block lies in another. */
export function isPartOf({ groups, bits }: Network, part: Network): boolean {
  // Of each group of 16 bits those that the block leaves open.
  const free = (i: number) => Math.min(16, Math.max(0, 16 * (i + 1) - bits))
  return part.bits >= bits && part.groups.every((group, i) => (group ^ (groups[i] ?? 0)) >>> free(i) === 0)
}

function groupsOf(address: string): number[] | null {
  const v4 = ipv4(address)
  return v4 === null ? ipv6(address) : [0, 0, 0, 0, 0, 0xffff, v4 >>> 16, v4 & 0xffff]
}

function kindOfV4(address: number): AddressKind {
  const within = ({ bits, network }: Range) => (address ^ network) >>> (32 - bits) === 0
  if (METADATA_V4.some(within)) return 'metadata'
  return PRIVATE_V4.some(within) ? 'private' : 'public'
}

function kindOfV6(groups: number[]): AddressKind {
  if (METADATA_V6.some((known) => known.every((group, i) => group === groups[i]))) return 'metadata'
  const kinds = embeddedV4(groups).map(kindOfV4)
  if (kinds.includes('metadata')) return 'metadata'
  if (kinds.includes('private')) return 'private'
  const [first = 0, second = 0] = groups
  // Translated by a gateway (RFC 6052): as public as the IPv4 address in it.
  if (first === 0x64 && second === 0xff9b && groups.slice(2, 6).every((group) => group === 0)) return 'public'
  const unicast = first >= 0x2000 && first <= 0x3fff
  // 2001::/23 (IETF protocols, Teredo among them), 2001:db8::/32 and 3fff::/20 (documentation).
  const special =
    (first === 0x2001 && (second < 0x200 || second === 0xdb8)) || (first === 0x3fff && second < 0x1000)
  return unicast && !special ? 'public' : 'private'
}

/** Every IPv4 address that an IPv6 address carries by one of the known schemes. */
function embeddedV4(groups: number[]): number[] {
  const pair = (i: number) => (((groups[i] ?? 0) << 16) | (groups[i + 1] ?? 0)) >>> 0
  const head = groups.slice(0, 6).join(':')
  const found: number[] = []
  // Compatible (RFC 4291), mapped, translated (RFC 2765), NAT64 (RFC 6052).
  if (['0:0:0:0:0:0', `0:0:0:0:0:${0xffff}`, `0:0:0:0:${0xffff}:0`, `100:${0xff9b}:0:0:0:0`].includes(head))
    found.push(pair(6))
  // NAT64 with a local prefix (RFC 8215).
  if (groups[0] === 0x64 && groups[1] === 0xff9b && groups[2] === 1) found.push(pair(6))
  // 6to4 (RFC 3056) and Teredo (RFC 4380: server, and the client with its bits turned over).
  if (groups[0] === 0x2002) found.push(pair(1))
  if (groups[0] === 0x2001 && groups[1] === 0) found.push(pair(2), ~pair(6) >>> 0)
  // ISATAP (RFC 5214).
  if (((groups[4] ?? 0) & ~0x0200) === 0 && groups[5] === 0x5efe) found.push(pair(6))
  return found
}

function ipv4(text: string): number | null {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number)
  if (!parts || parts.some((part) => part > 255)) return null
  return parts.reduce((value, part) => value * 256 + part, 0)
}

/** The eight groups; the URL parser checks the text and takes dotted IPv4 at its end apart. */
function ipv6(text: string): number[] | null {
  const bare = text.replace(/^\[|\]$/g, '')
  if (!bare.includes(':') || !URL.canParse(`http://[${bare}]/`)) return null
  const printed = new URL(`http://[${bare}]/`).hostname.slice(1, -1)
  const [head = '', tail] = printed.split('::')
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const left = groups(head)
  if (tail === undefined) return left
  const right = groups(tail)
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
}
