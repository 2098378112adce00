import type { Context } from '../../data/context'
import { secretsNamed } from './service'
import { mayGoTo } from './template'

/** Secrets in clear by their names, for one request; or why it can't be made. */
export type Opened = { secrets: Record<string, string>; refusal: null } | { secrets: null; refusal: string }

/** Opens the secrets of these names for a request to `host`: they go to their own hosts alone. */
export async function openedFor(ctx: Context, names: readonly string[], host: string): Promise<Opened> {
  const found = await secretsNamed(ctx, names)
  const secrets: Record<string, string> = Object.create(null)
  const refuse = (refusal: string) => ({ secrets: null, refusal })
  for (const name of names) {
    const secret = found.get(name)
    if (!secret) return refuse(`uses {{secrets.${name}}}, which is not there any more`)
    if (!mayGoTo(secret.hosts, host)) return refuse(`uses {{secrets.${name}}}, which may not go to ${host}`)
    secrets[name] = await secret.open()
  }
  return { secrets, refusal: null }
}
