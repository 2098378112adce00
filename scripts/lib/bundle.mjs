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

/** Modules that stay files of their own, next to the Worker, since hardly any request needs them. */
const LAZY = { 'unpdf/pdfjs': 'lazy/pdfjs.js', 'entities/decode': 'lazy/entities.js' }

/**
 * Writes the Worker as it is deployed: the source without what only the document is made from, as one file, and what is
 * `LAZY` beside it.
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
    plugins: [lazyInUnpdf, aliases(root), stripped(root)],
  })
  const folder = path.dirname(outfile)
  mkdirSync(folder, { recursive: true })
  for (const { path: file, text } of outputFiles) writeFileSync(file, text)
  const main = outputFiles.find(({ path: file }) => file === outfile).text
  for (const [name, file] of Object.entries(LAZY)) {
    if (!main.includes(`import(${atRunTime(file)})`))
      throw new Error(`nothing imports ${name} when it needs it`)
    await esbuild.build({
      ...LIKE_WRANGLER,
      absWorkingDir: root,
      entryPoints: [name],
      outfile: path.join(folder, file),
      minify: true,
      conditions: CONDITIONS,
    })
  }
}

/** A name that is put together when it is needed is followed by no bundler, wrangler's among them. */
const atRunTime = (file) => `[".", "${file}"].join("/")`

/** Code whose imports of what is `LAZY` are left to run time. */
function lazily(code) {
  let made = code
  for (const [name, file] of Object.entries(LAZY))
    made = made.replaceAll(`import('${name}')`, `import(${atRunTime(file)})`)
  return made
}

/** The one package that imports so itself; the service's own modules are seen to where they are stripped. */
const lazyInUnpdf = {
  name: 'lazy in unpdf',
  setup(build) {
    build.onLoad({ filter: /\/node_modules\/unpdf\/dist\/index\.mjs$/ }, ({ path: file }) => ({
      contents: lazily(readFileSync(file, 'utf8')),
      loader: 'js',
    }))
  },
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

const stripped = (root) => ({
  name: 'stripped',
  setup(build) {
    const ours = path.join(root, 'src') + path.sep
    build.onLoad({ filter: /\.ts$/ }, ({ path: file }) =>
      file.startsWith(ours)
        ? { contents: lazily(strip(readFileSync(file, 'utf8'), file)), loader: 'ts' }
        : undefined,
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
