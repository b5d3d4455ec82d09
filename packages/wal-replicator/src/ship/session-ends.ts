import { ReplicationError } from "../errors.ts";

/** Why a session is over although nobody stopped it, where another session follows. */

/** Another file lies at the database's path than the one that this session holds. */
export class DatabaseReplaced extends Error {
  override readonly name = "DatabaseReplaced";
}

/** The store is back after a start without it, and says that a new timeline is needed. */
export class StartAgain extends Error {
  override readonly name = "StartAgain";
}

/** What is under way when the stream is stopped is told. */
export function streamStopped(): ReplicationError {
  return new ReplicationError("STOPPED", "the stream was stopped", "Start it again to go on.");
}
