import { readFileSync } from "node:fs";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { restoreDatabase, toTxid } from "wal-replicator/internals";
import { rootOf } from "./daemon.ts";
import { LawBroken } from "./law-broken.ts";
import type { LedgerFile } from "./ledger.ts";
import type { Line } from "./line.ts";
import { hashPages, pageSize, readPageId, sameHash } from "./model-database.ts";

/**
 * Restores the end of a file by the engine, plan, files, checksums and all: to its TXID, and to its time.
 *
 * @throws {LawBroken} if it is not what was committed.
 */
export async function restoreByEngine(
  store: ObjectStore,
  path: string,
  { max, timestampMs }: LedgerFile,
  line: Line,
): Promise<void> {
  // Of one millisecond several states may be.
  const isLast = line.newestBefore(timestampMs + 1)?.txid === max;
  const byTime = isLast ? [{ before: new Date(timestampMs + 1) }] : [];
  for (const target of [{ txid: toTxid(max) }, ...byTime]) {
    const root = rootOf(store);
    const place = { root, path, timeline: line.name, overwrite: true, skipIntegrityCheck: true };
    const { txid, isRollingChecksumProved } = await restoreDatabase({ ...place, ...target });
    const bytes = readFileSync(path);
    const ids = Array.from({ length: bytes.length / pageSize }, (_, index) =>
      readPageId(bytes.subarray(index * pageSize, (index + 1) * pageSize)),
    );
    if (isRollingChecksumProved && sameHash(hashPages(ids), line.state(max).hash)) continue;
    const how = Object.keys(target).join();
    throw new LawBroken(
      `a restore by ${how} of TXID ${max} of ${line.name} gives ${txid}, and not what was`,
    );
  }
}
