import { Spool, spoolDirectory } from "./spool.ts";

/**
 * Says that the database at this path is the one to go on with, although the store has a newer history: the next stream begins a new timeline
 * from where it stands, as after a restore to an earlier moment. Durable when it resolves; does nothing where nothing of ours lies.
 *
 * @throws {ReplicationError} `SPOOL_IN_USE` if a stream runs.
 */
export async function chooseDatabase(database: string): Promise<void> {
  const spool = await Spool.open(spoolDirectory(database));
  try {
    if (spool.state !== undefined) await spool.saveState({ ...spool.state, restored: true });
  } finally {
    spool.close();
  }
}
