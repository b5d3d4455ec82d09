/** Slower than this (bytes a second) an upload takes longer than a store waits for it: it would be broken off and begun again for ever. */
export const uploadRateLeast: number = 128 * 1024;
