// The package brings no types; these are of what the tests use.
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  type Details = {
    prompt: { name: string }
    params: Record<string, unknown>
    session?: { accountId: string }
  }
  type Grant = { addOIDCScope(scope: string): void; save(): Promise<string> }

  export default class Provider {
    constructor(
      issuer: string,
      configuration: {
        findAccount(ctx: unknown, sub: string): unknown
        interactions: { url(ctx: unknown, interaction: { uid: string }): string }
        [name: string]: unknown
      },
    )
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Details>
    interactionFinished(request: IncomingMessage, response: ServerResponse, result: unknown): Promise<void>
    Grant: new (properties: {
      accountId: string
      clientId: string
    }) => Grant
  }
}
