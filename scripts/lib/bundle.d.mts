/** Writes the Worker of the project at `root` as it is deployed. */
export function bundleWorker(root: string, outfile: string): Promise<void>
