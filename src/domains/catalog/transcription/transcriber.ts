/** A recording: its bytes, what they are, and the extension by which transcribers know that. */
export type Recording = { bytes: Uint8Array<ArrayBuffer>; type: string; extension: string }

/** What was said at a stretch; `speaker` is the transcriber's own label, null where it tells none apart. */
export type Segment = { speaker: string | null; text: string; start: number }

/** What a transcriber heard: all of it, and by whom where it can tell. */
export type Transcript = { text: string; segments: Segment[] }

/** What every transcriber is asked with: until when, and the trace that goes on with it. */
export type Asked = { until: number; traceparent: string }

/**
 * Makes text of a recording. Throws a `Problem`: 422 naming `audio` where it is none that can be heard; 502, 503 or 504
 * where another try may succeed.
 */
export type Transcriber = (recording: Recording, asked: Asked) => Promise<Transcript>
