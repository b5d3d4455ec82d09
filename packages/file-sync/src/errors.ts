/** What can go wrong with files and manifests, apart from what the store says itself (`ObjectStoreError`). */
export type FileSyncErrorCode =
  /** A manifest, or a key of one, is not what this version writes. Never guessed at. */
  | "MANIFEST_INVALID"
  /** Another writer has stored a manifest under our number. */
  | "MANIFEST_TAKEN"
  /** A blob that a manifest names is not in the store, or has other bytes than its name says. */
  | "BLOB_BAD"
  /** A path that would lead out of its root, or that this machine cannot have. */
  | "PATH_UNSAFE"
  /** The directory or file of a root cannot be read, written or moved. */
  | "ROOT_UNUSABLE";

/** Every failure of ours. `message` says what failed, with path or key; `hint` what to do next, one sentence. */
export class FileSyncError extends Error {
  override readonly name = "FileSyncError";
  readonly code: FileSyncErrorCode;
  readonly hint: string;

  constructor(
    code: FileSyncErrorCode,
    message: string,
    hint: string,
    options: { readonly cause?: unknown } = {},
  ) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}
