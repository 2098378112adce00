/** Whose a clone is: both are written to it at the provider, by which it is found again. */
export type CloneOf = { tenant_id: string; voice_id: string }

export type Sample = { filename: string; bytes: Blob }

export type Spoken = { bytes: Uint8Array<ArrayBuffer>; type: string }

/** A voice as its provider has it; `shared` where it is nobody's in particular. */
export type Found = { shared: boolean }

/** What a speech provider can do; all of it throws as `askProvider` does. */
export type Speech = {
  /** Null where the account has no such voice. */
  look: (id: string) => Promise<Found | null>
  /** The ids of the clones that were made for a tenant, or for one voice of it. */
  clones: (of: { tenant_id: string; voice_id?: string }) => Promise<string[]>
  /** Makes a clone; its id. May be repeated only once it is known that there is none. */
  clone: (of: CloneOf, name: string, samples: readonly Sample[]) => Promise<string>
  /** Deletes a clone; harmless where there is none. */
  remove: (id: string) => Promise<void>
  speak: (id: string, text: string) => Promise<Spoken>
}
