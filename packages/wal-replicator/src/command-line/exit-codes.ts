/** What an executable's exit code means. People write these numbers into cron jobs and runbooks: they do not change. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  nothingToRestore: 3,
  verificationFailed: 4,
  heldByAnother: 5,
  storeUnavailable: 6,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Error codes of all packages that have an exit code of their own; every other error is `failed`. */
const exitCodeByErrorCode: Readonly<Record<string, ExitCode>> = {
  // The store: an answer that says "not you" or no answer at all.
  FORBIDDEN: exitCodes.storeUnavailable,
  UNREACHABLE: exitCodes.storeUnavailable,
  THROTTLED: exitCodes.storeUnavailable,
  STORE_FAILED: exitCodes.storeUnavailable,

  // What was asked for is wrong, and asking again the same way will not help.
  INVALID_ARGUMENT: exitCodes.usage,
  TARGET_EXISTS: exitCodes.usage,
  OPTIONS_CONFLICT: exitCodes.usage,
  USAGE: exitCodes.usage,

  NOTHING_TO_RESTORE: exitCodes.nothingToRestore,
  TXID_NOT_REACHABLE: exitCodes.nothingToRestore,
  TIME_NOT_REACHABLE: exitCodes.nothingToRestore,
  TIMELINE_UNKNOWN: exitCodes.nothingToRestore,

  VERIFICATION_FAILED: exitCodes.verificationFailed,
  CHAIN_BROKEN: exitCodes.verificationFailed,
  REPLICA_MALFORMED: exitCodes.verificationFailed,

  EPOCH_HELD: exitCodes.heldByAnother,
  FENCED: exitCodes.heldByAnother,
  HELD: exitCodes.heldByAnother,
  LOCAL_DIVERGED: exitCodes.heldByAnother,
  FOREIGN_WRITE: exitCodes.heldByAnother,
  SPOOL_IN_USE: exitCodes.heldByAnother,
  COPY_IN_USE: exitCodes.heldByAnother,
};

/** The exit code for a coded error. */
export function exitCodeOfErrorCode(code: string | undefined): ExitCode {
  if (code === undefined) return exitCodes.failed;
  // Every code of a damaged LTX file: the bytes in the store are bad.
  if (code.startsWith("LTX_")) return exitCodes.verificationFailed;
  return exitCodeByErrorCode[code] ?? exitCodes.failed;
}
