/** For this repository's own tests: parts that are no promise to anybody. Resolved from sources only, never published. */
export { digestOfBlobKey } from "./blob-key.ts";
export { BlobWriter } from "./blob-writer.ts";
export { decodeManifest } from "./manifest.ts";
export { parseManifestKey } from "./manifest-key.ts";
export { ManifestLog } from "./manifest-log.ts";
