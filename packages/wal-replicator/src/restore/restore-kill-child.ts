/**
 * A process that restores and kills itself with SIGKILL at the nth report of progress; `done` instead of a number lets it finish.
 * Arguments: directory of the store, path of the target, when, and `thread` if another thread applies the files.
 */
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { restoreDatabase } from "./restore.ts";

const [storeDirectory, path, when, where] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
];
let reportCount = 0;

await restoreDatabase({
  root: { store: new DirectoryStore(storeDirectory), prefix: "", timelinesUnder: "" },
  path,
  overwrite: true,
  threadBytesMin: where === "thread" ? 0 : Number.POSITIVE_INFINITY,
  onProgress: () => {
    reportCount += 1;
    if (reportCount === Number(when)) process.kill(process.pid, "SIGKILL");
  },
});
