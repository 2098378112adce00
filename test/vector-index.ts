import { cosine } from '../src/domains/catalog/recommendations/vectors'

type Vector = { id: string; values: number[]; namespace: string }

/** An index of vectors as Vectorize documents it: by id, in namespaces, by cosine. */
export function vectorIndex() {
  const vectors = new Map<string, Vector>()
  const index = {
    upsert: async (all: Vector[]) => {
      if (all.length > 1_000) throw new Error('1,000 vectors at most')
      for (const one of all) {
        if (one.id.length > 64 || one.namespace.length > 64) throw new Error('64 bytes at most')
        vectors.set(one.id, one)
      }
      return { mutationId: 'm' }
    },
    deleteByIds: async (ids: string[]) => {
      for (const id of ids) vectors.delete(id)
      return { mutationId: 'm' }
    },
    getByIds: async (ids: string[]) => ids.flatMap((id) => vectors.get(id) ?? []),
    query: async (values: number[], { topK, namespace }: { topK: number; namespace: string }) => {
      if (topK > 100) throw new Error('topK is 100 at most')
      const matches = [...vectors.values()]
        .filter((one) => one.namespace === namespace)
        .map(({ id, values: other }) => ({ id, score: cosine(values, other) }))
        .sort((a, b) => b.score - a.score)
        .slice(0, topK)
      return { matches, count: matches.length }
    },
  }
  return { index, vectors }
}
