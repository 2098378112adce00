import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { builtinModules, createRequire } from 'node:module'
import path from 'node:path'
import { unstable_readConfig } from 'wrangler'
import { strip } from './strip.mjs'

/** The esbuild that wrangler bundles with. */
const esbuild = createRequire(import.meta.resolve('wrangler'))('esbuild')

/** As wrangler bundles: what the runtime brings stays an import. */
const LIKE_WRANGLER = {
  bundle: true,
  format: 'esm',
  target: 'es2024',
  external: ['node:*', 'cloudflare:*', ...builtinModules],
  logLevel: 'error',
}
const CONDITIONS = ['workerd', 'worker', 'browser']

/**
 * Writes the Worker as one file, as it is deployed: the source without what only the document is made from, and without
 * the modules of packages that nothing uses then.
 */
export async function bundleWorker(root, outfile) {
  const { outputFiles } = await esbuild.build({
    ...LIKE_WRANGLER,
    absWorkingDir: root,
    entryPoints: ['src/index.ts'],
    outfile,
    sourcemap: true,
    write: false,
    conditions: ['deployed', ...CONDITIONS],
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [aliases(root), leftOut, stripped(root)],
  })
  mkdirSync(path.dirname(outfile), { recursive: true })
  for (const { path: file, text } of outputFiles) writeFileSync(file, text)
}

/** What `export const …` of `code` is when it runs here, on Node; `code` imports as a file at the root does. */
export async function evaluate(root, code) {
  const { outputFiles } = await esbuild.build({
    ...LIKE_WRANGLER,
    absWorkingDir: root,
    stdin: { contents: code, resolveDir: root, loader: 'ts' },
    write: false,
    conditions: CONDITIONS,
    plugins: [aliases(root), withoutRuntime],
  })
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`)
}

/** `[alias]` of wrangler.toml, which wrangler itself would follow. */
function aliases(root) {
  const { alias } = unstable_readConfig({ config: path.join(root, 'wrangler.toml') }, { hideWarnings: true })
  const setup = (build) =>
    build.onResolve({ filter: /./ }, ({ path: wanted }) =>
      alias?.[wanted] ? { path: path.resolve(root, alias[wanted]) } : undefined,
    )
  return { name: 'aliases', setup }
}

/** How zod makes JSON Schemas, which only the document has. */
const UNUSED = /[\\/]zod[\\/]v4[\\/]core[\\/](?:json-schema-processors|to-json-schema)\.js$/

/** What is asked for when schemas are made, and whose answer is not used. */
const ASKED = /^create\w+Method$/

/** Modules of packages of which the deployed Worker calls nothing; what they export throws if that was wrong. */
const leftOut = {
  name: 'left out',
  setup(build) {
    build.onLoad({ filter: UNUSED }, ({ path: file }) => {
      const names = readFileSync(file, 'utf8').matchAll(/^export (?:const|function|class) ([\w$]+)/gm)
      const said = `${path.basename(file)} is left out of the deployed Worker (scripts/lib/bundle.mjs)`
      const never = `const never = () => { throw new Error(${JSON.stringify(said)}) }\n`
      const line = ([, name]) => `export const ${name} = ${ASKED.test(name) ? '() => undefined' : 'never'}\n`
      return { contents: never + [...names].map(line).join('') }
    })
  },
}

const stripped = (root) => ({
  name: 'stripped',
  setup(build) {
    const ours = path.join(root, 'src') + path.sep
    build.onLoad({ filter: /\.ts$/ }, ({ path: file }) =>
      file.startsWith(ours) ? { contents: strip(readFileSync(file, 'utf8'), file), loader: 'ts' } : undefined,
    )
  },
})

/** Node has no runtime of Cloudflare's; what only makes the document asks it for nothing. */
const withoutRuntime = {
  name: 'without runtime',
  setup(build) {
    build.onResolve({ filter: /^cloudflare:/ }, ({ path: wanted }) => ({ path: wanted, namespace: 'none' }))
    build.onLoad({ filter: /./, namespace: 'none' }, () => ({ contents: 'export class DurableObject {}' }))
  },
}
