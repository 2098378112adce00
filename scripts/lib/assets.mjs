import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** ReDoc shows its makers' logo from their server; nothing on these pages may leave the host. */
const LOGO = 'https://cdn.redoc.ly/redoc/logo-mini.svg'

const FILES = {
  'swagger-ui.css': 'swagger-ui-dist/swagger-ui.css',
  'swagger-ui-bundle.js': 'swagger-ui-dist/swagger-ui-bundle.js',
  'swagger-ui.LICENSE': 'swagger-ui-dist/LICENSE',
  'redoc.LICENSE': 'redoc/LICENSE',
}

/** Copies what /docs and /redoc load out of the npm packages into public/docs, which is not in git. */
export function copyAssets(root) {
  const modules = path.join(root, 'node_modules')
  const target = path.join(root, 'public/docs')
  mkdirSync(target, { recursive: true })
  for (const [name, source] of Object.entries(FILES))
    copyFileSync(path.join(modules, source), path.join(target, name))
  const redoc = readFileSync(path.join(modules, 'redoc/bundles/redoc.standalone.js'), 'utf8')
  if (!redoc.includes(LOGO)) throw new Error('ReDoc has changed: see where its logo comes from now')
  writeFileSync(path.join(target, 'redoc.standalone.js'), redoc.replace(LOGO, 'data:,'))
}
