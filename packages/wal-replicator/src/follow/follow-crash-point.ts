/** Named places in a transaction of a followed copy, where a crash leaves the most interesting state. Tests kill the process there. */
export type FollowCrashPoint =
  /** A whole database is restored beside; nothing says so yet. */
  | "restored"
  /** The state is durable; the copy is not published yet. */
  | "publishing"
  /** The state says which transaction comes; nothing else was done. */
  | "state-written"
  /** The journal is durable under a name that nobody rolls back. */
  | "journal-written"
  /** The lock is held, and the journal has its name: from here to the commit, whoever opens the copy rolls back. */
  | "journal-hot"
  /** Half of the pages are written. */
  | "half-written"
  /** All pages are written and synced; the journal is still there. */
  | "pages-written"
  /** The journal is gone: the transaction is committed. */
  | "committed";

export type FollowCrashPointListener = (point: FollowCrashPoint) => void;
