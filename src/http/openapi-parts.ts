// What every operation of the document shares: headers and the ways to say who is calling (http.md, identity.md).

export const ref = (kind: 'headers' | 'parameters', name: string) => ({
  $ref: `#/components/${kind}/${name}`,
})

export const SECURITY_SCHEMES = {
  HTTPBearer: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'The `access_token` that login answers, or an API key.',
  },
  APIKey: {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'A key of `POST /api/v1/auth/api-keys`.',
  },
  Cookie: {
    type: 'apiKey',
    in: 'cookie',
    name: 'access_token',
    description: 'Set by login for browsers. A header wins over it; writes must come from an allowed origin.',
  },
}

export const HEADERS = {
  'X-Request-ID': header(
    'The request: the caller’s own id where one was sent, else a new one.',
    'req_0f3c1a2b4d5e6f70',
  ),
  'X-Correlation-ID': header('The caller’s own correlation id, else the request’s id.', 'order-4711'),
  Location: header('Where the new resource is.', '/api/v1/chats/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'),
  ETag: header('The version of the resource, for If-None-Match and If-Match.', '"v3"'),
  'WWW-Authenticate': header('What is wrong with the credential.', 'Bearer error="invalid_token"'),
  'X-RateLimit-Limit': header('The limit of the window of which least is left.', '1000'),
  'X-RateLimit-Remaining': header('What is left of it, as this part of the service knows.', '999'),
  'X-RateLimit-Reset': header('Seconds until more of it is left.', '30'),
  'RateLimit-Policy': header(
    'The same window: its name, limit and width in seconds.',
    '"minute";q=1000;w=60',
  ),
  RateLimit: header('The same window: what is left, and until when.', '"minute";r=999;t=30'),
  'Retry-After': header('Seconds after which to try again, where waiting helps.', '1'),
}

/** On every answer to a request that was counted. */
export const LIMIT_HEADERS = [
  ...(['X-RateLimit-Limit', 'X-RateLimit-Remaining', 'X-RateLimit-Reset'] as const),
  ...(['RateLimit-Policy', 'RateLimit'] as const),
]

// Without `example`s: Swagger UI would fill them in and send them.
export const PARAMETERS = {
  TenantId: parameter('X-Tenant-ID', 'The credential’s own tenant, to be checked; another one is refused.', {
    format: 'uuid',
  }),
  OwnTenantId: {
    ...parameter('X-Tenant-ID', 'The credential’s own tenant; another one is refused.', { format: 'uuid' }),
    required: true,
  },
  TargetTenantId: parameter(
    'X-Target-Tenant-ID',
    'For a platform administrator: the tenant to act in. Every such request is on record there.',
    { format: 'uuid' },
  ),
  ActiveTenantId: parameter('X-Active-Tenant-Id', 'For a partner’s user: the tenant to act in.', {
    format: 'uuid',
  }),
  IdempotencyKey: parameter(
    'X-Idempotency-Key',
    'A repeat with the same key within 24 hours gets the first answer and changes nothing. `Idempotency-Key` is the same.',
    { minLength: 1, maxLength: 255 },
  ),
  IfMatch: parameter(
    'If-Match',
    'The ETag that was read, `"v3"` say; 412 where the resource has changed since.',
  ),
  IfNoneMatch: parameter('If-None-Match', 'The ETag that was read, `"v3"` say; 304 where it still holds.'),
}

function header(description: string, example: string) {
  return { description, schema: { type: 'string' }, example }
}

function parameter(name: string, description: string, schema: Record<string, unknown> = {}) {
  return { name, in: 'header', required: false, description, schema: { type: 'string', ...schema } }
}
