import * as z from 'zod'
import type { GithubSettings } from '../../../lib/oauth-providers'
import { addressOf, type Identity, nameOf } from './identity'
import { askProvider, failed } from './outgoing'
import { type Asking, challengeOf, oauthRefused, type Provider, type Returned } from './provider'

/** docs.github.com, "Authorizing OAuth apps": errors come with status 200. */
const TokenAnswer = z.union([
  z.object({ error: z.string() }),
  z.object({ access_token: z.string().min(1), token_type: z.string().regex(/^bearer$/i) }),
])
const User = z.object({ id: z.int().positive(), name: z.unknown() })
const Emails = z.array(z.object({ email: z.string(), primary: z.boolean(), verified: z.boolean() }))

/** GitHub's OAuth, which knows no id token: the API says who has logged in. */
export class GithubProvider implements Provider {
  constructor(private readonly settings: GithubSettings) {}

  async authorizationUrl({ redirectUri, state, verifier }: Asking): Promise<string> {
    const url = new URL(`${this.settings.base_url}/login/oauth/authorize`)
    const params = {
      client_id: this.settings.client_id,
      redirect_uri: redirectUri,
      scope: 'read:user user:email',
      state,
      ...(await challengeOf(verifier)),
    }
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value)
    return url.href
  }

  async identify(returned: Returned): Promise<Identity> {
    const token = await this.tokenFor(returned)
    const user = await this.ask('/user', token, User)
    const emails = await this.ask('/user/emails', token, Emails)
    const primary = emails.find((one) => one.primary)
    return {
      issuer: this.settings.base_url,
      // Never the login, which its owner can give up and another take.
      subject: String(user.id),
      email: addressOf(primary?.email),
      email_verified: primary?.verified === true,
      name: nameOf(user.name),
    }
  }

  private async tokenFor({ code, redirectUri, verifier }: Returned): Promise<string> {
    const { client_id, client_secret, base_url } = this.settings
    const answer = await askProvider(`${base_url}/login/oauth/access_token`, {
      method: 'POST',
      headers: { Accept: 'application/json' },
      body: new URLSearchParams({
        ...{ client_id, client_secret, code },
        redirect_uri: redirectUri,
        code_verifier: verifier,
      }),
    })
    const parsed = TokenAnswer.safeParse(answer.body)
    if (!parsed.success || answer.status !== 200) throw failed(`token endpoint answered ${answer.status}`)
    if (!('error' in parsed.data)) return parsed.data.access_token
    if (parsed.data.error === 'bad_verification_code') throw oauthRefused('The provider refused the code')
    throw failed(`token endpoint: ${parsed.data.error}`)
  }

  private async ask<S extends z.ZodType>(path: string, token: string, schema: S): Promise<z.output<S>> {
    const { status, body } = await askProvider(`${this.settings.api_url}${path}`, {
      headers: {
        Accept: 'application/vnd.github+json',
        Authorization: `Bearer ${token}`,
        // GitHub refuses whoever does not name himself.
        'User-Agent': 'causeway',
        'X-GitHub-Api-Version': '2022-11-28',
      },
    })
    const parsed = schema.safeParse(body)
    if (status !== 200 || !parsed.success) throw failed(`${path} answered ${status}`)
    return parsed.data
  }
}
