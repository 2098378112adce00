// What the service asks of the ML engine and of the data pipeline, and what it can do with their answers, as Pact contracts:
// the very functions that ask are run against Pact's servers. The contracts lie in contracts/, for those who build the other
// side to verify theirs by; UPDATE_PACTS=1 writes them anew.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { MatchersV3, PactV4 } from '@pact-foundation/pact'
import { evaluate } from '../../scripts/lib/bundle.mjs'

// The library would tell its makers that it runs.
process.env.PACT_DO_NOT_TRACK = 'true'

const ROOT = path.resolve(import.meta.dirname, '../..')
const CONTRACTS = path.join(import.meta.dirname, 'contracts')
const dir = mkdtempSync(path.join(tmpdir(), 'causeway-pact-'))
const { like, eachLike, number, string, regex } = MatchersV3

const TENANT = '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
const TOKEN = 'a-token-of-the-other-side'
const HEADERS = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' }
const JSON_TYPE = { 'Content-Type': regex(/^application\/json/.source, 'application/json') }

const pactWith = (provider) =>
  new PactV4({ consumer: 'causeway', provider, dir, logLevel: 'error', host: '127.0.0.1' })

let code
before(async () => {
  code = await evaluate(
    ROOT,
    `export { remoteRecommendations, remoteEmbeddings } from './src/domains/catalog/recommendations/remote.ts'
    export { postBatch } from './src/domains/catalog/pipeline/post.ts'`,
  )
})

const engineAt = (url) => ({
  settings: { ML_ENGINE_URL: url, ML_ENGINE_TOKEN: TOKEN },
  tenant: { id: TENANT },
})

/** One interaction of a contract: what is asked, what is answered, and what the service makes of that. */
async function expecting(pact, { state, name, asks, answers, run }) {
  const started = pact.addInteraction()
  await (state ? started.given(state) : started)
    .uponReceiving(name)
    .withRequest('POST', asks.path, (request) => request.headers(HEADERS).jsonBody(asks.body))
    .willRespondWith(answers.status, (response) => {
      if (answers.body !== undefined) response.headers(JSON_TYPE).jsonBody(answers.body)
    })
    .executeTest(async ({ url }) => run(url.replace(/\/$/, '')))
}

const RECOMMENDATIONS = '/internal/ml/recommendations'
const ASK = { user_id: 'user-17', count: 5, filters: { tags: [], exclude: [] } }
const asked = { tenant_id: TENANT, user_id: 'user-17', count: 5, filters: {} }
const ONE = { item_id: string('sku-1042'), score: number(0.42) }

test('the ML engine recommends: a list', () =>
  expecting(pactWith('ml-engine'), {
    state: 'user-17 of the tenant did something',
    name: 'what to recommend to a user',
    asks: { path: RECOMMENDATIONS, body: asked },
    answers: { status: 200, body: eachLike(ONE) },
    run: async (url) =>
      assert.deepEqual(await code.remoteRecommendations(engineAt(url), ASK), [
        { item_id: 'sku-1042', score: 0.42, reason: null },
      ]),
  }))

test('the ML engine recommends: an object, with reasons, under filters', () =>
  expecting(pactWith('ml-engine'), {
    state: 'user-17 of the tenant did something, and recommendations have reasons',
    name: 'what to recommend to a user under filters',
    asks: {
      path: RECOMMENDATIONS,
      body: {
        ...asked,
        filters: { category: 'shoes', tags: ['new'], exclude: ['sku-1'], available: true },
      },
    },
    answers: {
      status: 200,
      body: { recommendations: eachLike({ ...ONE, reason: string('You like shoes') }) },
    },
    run: async (url) => {
      const filters = { category: 'shoes', tags: ['new'], exclude: ['sku-1'], available: true }
      assert.deepEqual(await code.remoteRecommendations(engineAt(url), { ...ASK, filters }), [
        { item_id: 'sku-1042', score: 0.42, reason: 'You like shoes' },
      ])
    },
  }))

test('the ML engine has nothing to recommend', () =>
  expecting(pactWith('ml-engine'), {
    state: 'nothing is known of the tenant',
    name: 'what to recommend to a user nobody knows',
    asks: { path: RECOMMENDATIONS, body: asked },
    answers: { status: 200, body: [] },
    run: async (url) => assert.deepEqual(await code.remoteRecommendations(engineAt(url), ASK), []),
  }))

test('the ML engine is not available', () =>
  expecting(pactWith('ml-engine'), {
    state: 'the engine is overloaded',
    name: 'what to recommend while it can’t',
    asks: { path: RECOMMENDATIONS, body: asked },
    answers: { status: 503 },
    run: (url) => assert.rejects(code.remoteRecommendations(engineAt(url), ASK), { name: 'EngineFailure' }),
  }))

const ITEM = {
  item_id: 'sku-1042',
  title: 'Trail running shoe',
  category: 'shoes',
  tags: ['new'],
  attributes: { color: 'red' },
}

test('the ML engine makes embeddings of items', () =>
  expecting(pactWith('ml-engine'), {
    name: 'embeddings of items',
    asks: { path: '/internal/ml/embeddings', body: { tenant_id: TENANT, items: [ITEM] } },
    answers: {
      status: 200,
      body: [{ item_id: 'sku-1042', embedding: eachLike(number(0.125)) }],
    },
    run: async (url) =>
      assert.deepEqual(await code.remoteEmbeddings(engineAt(url), [ITEM]), [
        { item_id: 'sku-1042', embedding: [0.125] },
      ]),
  }))

const BATCH = {
  tenant_id: TENANT,
  batch_id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8e',
  interactions: [
    {
      ...{
        id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8f',
        type: 'purchase',
        user_id: 'user-17',
        item_id: 'sku-1042',
      },
      ...{ text: null, speaker_id: null, conversation_id: null, value: 59.9, audio_url: null, metadata: {} },
      ...{ occurred_at: '2026-01-31T10:00:00.000Z', created_at: '2026-01-31T10:00:00.000Z' },
    },
  ],
}
const post = (url) =>
  code.postBatch(
    { DATA_PIPELINE_URL: url, DATA_PIPELINE_TOKEN: TOKEN },
    `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    BATCH,
  )
const PIPELINE = '/internal/pipeline/interactions'

test('the data pipeline takes a batch, and takes it again', async () => {
  for (const [state, name] of [
    [undefined, 'a batch of interactions'],
    ['the batch was taken before', 'the same batch once more'],
  ])
    await expecting(pactWith('data-pipeline'), {
      ...{ state, name, asks: { path: PIPELINE, body: like(BATCH) }, answers: { status: 202 } },
      run: async (url) => assert.deepEqual(await post(url), { kind: 'taken' }),
    })
})

test('the data pipeline can’t take a batch for the moment', () =>
  expecting(pactWith('data-pipeline'), {
    state: 'the pipeline is overloaded',
    name: 'a batch while it can’t take one',
    asks: { path: PIPELINE, body: like(BATCH) },
    answers: { status: 503 },
    run: async (url) => assert.equal((await post(url)).kind, 'away'),
  }))

/** A contract without what the library says of itself. */
const contractIn = (folder, file) => {
  const { metadata: _, ...contract } = JSON.parse(readFileSync(path.join(folder, file), 'utf8'))
  return contract
}

test('the contracts that lie here are these', () => {
  const files = readdirSync(dir).sort()
  assert.deepEqual(files, ['causeway-data-pipeline.json', 'causeway-ml-engine.json'])
  if (process.env.UPDATE_PACTS)
    for (const file of files)
      writeFileSync(
        path.join(CONTRACTS, file),
        `${JSON.stringify(JSON.parse(readFileSync(path.join(dir, file), 'utf8')), null, 2)}\n`,
      )
  assert.deepEqual(readdirSync(CONTRACTS).sort(), files)
  for (const file of files) assert.deepEqual(contractIn(dir, file), contractIn(CONTRACTS, file))
})

after(() => rmSync(dir, { recursive: true, force: true }))
