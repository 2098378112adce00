/** Only the host itself, and no script but the page's own; the two viewers set styles from their scripts. */
export function contentSecurityPolicy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}'`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    // ReDoc indexes for its search in a worker that it makes from a blob.
    'worker-src blob:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

const page = (title: string, head: string, content: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
${head}
</head>
<body style="margin:0">
${content}
</body>
</html>
`

/** Swagger UI; a credential typed into it stays in the page and is gone when it closes. */
export const swaggerPage = (nonce: string) =>
  page(
    'Causeway API',
    '<link rel="stylesheet" href="/docs/swagger-ui.css">',
    `<main id="ui"></main>
<script src="/docs/swagger-ui-bundle.js"></script>
<script nonce="${nonce}">
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#ui',
  deepLinking: true,
  filter: true,
  docExpansion: 'none',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
})
</script>`,
  )

export const redocPage = (nonce: string) =>
  page(
    'Causeway API reference',
    '',
    `<main id="ui"></main>
<script src="/docs/redoc.standalone.js"></script>
<script nonce="${nonce}">
Redoc.init('/openapi.json', { nativeScrollbars: true, expandResponses: '200,201' }, document.getElementById('ui'))
</script>`,
  )
