import { readFileSync, writeFileSync } from "node:fs";

/** What a process has used since its start. Linux only. */
export interface ProcessUsage {
  /** User and system time of all its threads, in steps of 10 ms. */
  readonly cpuSeconds: number;
  /** VmHWM: the most that was ever resident, or since `resetPeak`. */
  readonly peakBytes: number;
  /** VmRSS: what is resident now. */
  readonly residentBytes: number;
}

/** The kernel counts in USER_HZ towards user space, which is 100 on every architecture that Node runs on. */
const ticksPerSecond = 100;

/** @returns undefined if the process is gone. */
export function readProcessUsage(pid: number): ProcessUsage | undefined {
  const fields = readStat(String(pid));
  const status = readIfThere(`/proc/${pid}/status`);
  if (fields === undefined || status === undefined) return undefined;
  return {
    cpuSeconds: (Number(fields[userTime]) + Number(fields[systemTime])) / ticksPerSecond,
    peakBytes: readKibibytes(status, "VmHWM"),
    residentBytes: readKibibytes(status, "VmRSS"),
  };
}

/** From now on, `peakBytes` of the process is the most since now. */
export function resetPeak(pid: number): void {
  // proc_pid_clear_refs(5): 5 sets VmHWM to what is resident now.
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** CPU seconds of all children of this process that have ended, descendants that they waited for included. */
export function readEndedChildrenCpuSeconds(): number {
  const fields = readStat("self");
  if (fields === undefined) throw new Error("there is no /proc: the benchmarks need Linux");
  return (Number(fields[childrenUserTime]) + Number(fields[childrenSystemTime])) / ticksPerSecond;
}

// proc_pid_stat(5) counts from 1 and has two fields before these, the second of them with spaces and brackets inside.
const userTime = 11;
const systemTime = 12;
const childrenUserTime = 13;
const childrenSystemTime = 14;

function readStat(process: string): string[] | undefined {
  const stat = readIfThere(`/proc/${process}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** Absent in a process that has ended and was not waited for yet. */
function readKibibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process ended between two looks: there is nothing to read any more.
    return undefined;
  }
}
