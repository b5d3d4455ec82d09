const digestPattern = /^[0-9a-f]{64}$/;

/** Whether the text is a SHA-256 as we write it: 64 lower case hex digits. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

export const blobPrefix = "files/blobs/";

/** @param sha256 - 64 lower case hex digits. @returns the key of the object that holds just these bytes. */
export function blobKey(sha256: string): string {
  return `${blobPrefix}${sha256.slice(0, 2)}/${sha256}`;
}

/** @returns the SHA-256 that a blob's key names; undefined: not the key of a blob. */
export function digestOfBlobKey(key: string): string | undefined {
  const sha256 = key.slice(-64);
  return isDigest(sha256) && key === blobKey(sha256) ? sha256 : undefined;
}
