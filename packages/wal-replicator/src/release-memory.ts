/**
 * Gives the memory of a chunk back at once. Left to the garbage collector, chunks of a gigabyte lie in memory by the dozen, since
 * it hardly sees what is outside of its heap. The chunk and all views of it are empty afterwards: only its owner may call this.
 *
 * A chunk that is a part of a larger buffer, which may be somebody else's, is left alone.
 */
export function releaseMemory(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (buffer instanceof ArrayBuffer && chunk.byteLength === buffer.byteLength) buffer.transfer(0);
}
