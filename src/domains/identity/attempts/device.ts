import { equalInConstantTime, isTaggedBy, type MasterKeys, randomBytes, tagBy } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'

// A browser in which somebody logged in carries a cookie that says so: an id and, for each of the accounts, a tag under a
// server secret. It opens nothing. It only keeps strangers' wrong passwords from being counted against this browser
// (OWASP, "Device Cookies").

/** Half a year. */
export const DEVICE_SECONDS = 180 * 24 * 3600

/** So many accounts are known in one browser; the one that logged in least lately is forgotten. */
const MOST_ACCOUNTS = 5

const FORM = /^([\w-]{22})((?:\.[\w-]{22}){0,5})$/

function parse(cookie: string | undefined): { id: string; tags: string[] } | null {
  const [, id, tags = ''] = FORM.exec(cookie ?? '') ?? []
  return id === undefined ? null : { id, tags: tags.split('.').slice(1) }
}

const PURPOSE = 'login-device'
const printed = (tag: Uint8Array<ArrayBuffer>) => base64url(tag.slice(0, 16))

/** The id of the browser that sent the cookie, where this account has logged in with it; else null. */
export async function knownDevice(
  keys: MasterKeys,
  cookie: string | undefined,
  account: string,
): Promise<string | null> {
  const device = parse(cookie)
  if (!device) return null
  const isOne = (tag: string) => device.tags.some((one) => equalInConstantTime(one, tag))
  const known = await isTaggedBy(keys, PURPOSE, `${device.id}\n${account}`, (tag) => isOne(printed(tag)))
  return known ? device.id : null
}

/** The cookie's value after a login of that account. */
export async function deviceCookie(
  { MASTER_KEY }: Pick<MasterKeys, 'MASTER_KEY'>,
  cookie: string | undefined,
  account: string,
): Promise<string> {
  const { id, tags } = parse(cookie) ?? { id: base64url(randomBytes(16)), tags: [] }
  const tag = printed(await tagBy(MASTER_KEY, PURPOSE, `${id}\n${account}`))
  const others = tags.filter((one) => one !== tag)
  return [id, tag, ...others].slice(0, 1 + MOST_ACCOUNTS).join('.')
}
