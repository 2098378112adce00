// Stands for modules of libraries that nothing here uses and no bundler can tell so; wrangler.toml says for which. It
// saves the Worker 5 kB: Drizzle's relational queries, `$count`, PostgreSQL enums and two SQLite columns, Hono's second
// router, `mount` and `parseBody`, and the one kind of attestation that browsers may send without being asked.

import { UnsupportedPathError } from 'hono/router'

/** A thing that is never made, only asked for. */
class LeftOut {}

const never = (): never => {
  throw new Error('this part of a library is left out of the Worker (src/http/left-out.ts)')
}

export {
  LeftOut as Many,
  LeftOut as One,
  LeftOut as RelationalQueryBuilder,
  LeftOut as Relations,
  LeftOut as SQLiteCountBuilder,
  never as blob,
  never as createMany,
  never as createMountedRequest,
  never as createOne,
  never as createTableRelationsHelpers,
  never as extractTablesRelationalConfig,
  never as getOperators,
  never as getOrderByOperators,
  never as mapRelationalRow,
  never as normalizeRelation,
  never as numeric,
  never as parseBody,
  never as relations,
  never as verifyAttestationPacked,
}

/** No column is a PostgreSQL enum. */
export const isPgEnum = (): boolean => false

/** Takes no route, so that Hono goes on with its other router. */
export class RegExpRouter {
  readonly name = 'LeftOut'
  add(): never {
    throw new UnsupportedPathError()
  }
  match = this.add
}
