import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process, told apart from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Its start in clock ticks since boot, as `/proc` says it; "" where there is no `/proc`. */
  readonly startedTicks: string;
}

export function identifyProcess(pid: number): ProcessIdentity {
  return { pid, startedTicks: startedTicks(pid) ?? "" };
}

/** Whether exactly this process still runs. A zombie does not. */
export function isRunning({ pid, startedTicks: recorded }: ProcessIdentity): boolean {
  if (recorded !== "") return startedTicks(pid) === recorded;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Other processes of this user that have the file open. Empty where there is no `/proc`. */
export function processesWithFileOpen(path: string): readonly number[] {
  const found: number[] = [];
  for (const entry of directoryEntries("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const directory = `/proc/${pid}/fd`;
    if (directoryEntries(directory).some((fd) => linkTarget(`${directory}/${fd}`) === path)) {
      found.push(pid);
    }
  }
  return found;
}

function startedTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the command in brackets and may hold anything; the state is the first behind it, the start the 20th.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined; // gone
  }
}

/** Processes come and go while one looks, and those of other users are none of our business. */
function directoryEntries(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
