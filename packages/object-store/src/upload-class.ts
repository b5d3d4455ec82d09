/**
 * What a write is for, as far as limits care. Who opens a store knows its keys, and says it by the key.
 *
 * - `free`: what is small and must not wait, a lease above all: it is neither counted nor held back.
 * - `stream`: what somebody would lose with this machine. It goes first.
 * - `background`: everything that can be made again.
 */
export type UploadClass = "free" | "stream" | "background";
