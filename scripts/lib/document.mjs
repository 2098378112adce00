import { evaluate } from './bundle.mjs'

const CODE = `
import { app } from './src/app'
import { printDocument } from './src/domains/operations/docs/document'
export const document = printDocument(app)
`

/** The OpenAPI document that the code makes of itself, as the deployed Worker reads it. */
export async function documentOf(root) {
  return (await evaluate(root, CODE)).document
}
