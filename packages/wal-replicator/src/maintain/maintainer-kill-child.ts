/**
 * A process that maintains a timeline once, and kills itself with SIGKILL at a named point if it is told to (`crashPointsFromArguments`).
 * Arguments: directory of the store, the maintainer's own directory, a complete snapshot to take for the database's, the time in milliseconds.
 */
import { copyFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { crashPointsFromArguments } from "@vaultwarden-stream/testkit";
import { toTxid } from "../ltx/txid.ts";
import { exclusive } from "../replica/epoch-testing.ts";
import { listTimeline } from "../replica/replica.ts";
import { testEpoch, testTimeline } from "./history-testing.ts";
import { Maintainer } from "./maintainer.ts";
import { defaultMaintenancePolicy } from "./policy.ts";

const [storeDirectory, scratchDirectory, snapshot, nowMs, rollingChecksum] = process.argv.slice(
  2,
) as [string, string, string, string, string];
const root = { store: new DirectoryStore(storeDirectory), prefix: "", timelinesUnder: "" };
const catalog = await listTimeline(root, testTimeline);

await new Maintainer({
  root,
  catalog,
  policy: defaultMaintenancePolicy,
  beforeWrite: async () => ({ record: testEpoch, mode: exclusive }),
  localCopy: () => undefined,
  makeSnapshot: async (directory) => {
    const path = join(directory, "snapshot.tmp");
    await copyFile(snapshot, path);
    const { size } = await stat(path);
    const maxTxid = catalog.highestTxid ?? toTxid(1);
    return { path, size, name: { minTxid: toTxid(1), maxTxid, rollingChecksum } };
  },
  scratchDirectory,
  retain: async () => {},
  now: () => Number(nowMs),
  at: crashPointsFromArguments(),
  emit: (event) => {
    if (event.type === "maintenance-failing") throw new Error(event.message);
  },
  isFatal: () => true,
}).step(new AbortController().signal);
