import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { gigabyte } from "./scenario.ts";

/** Where figures come from: without it they mean nothing. */
export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly kernel: string;
  readonly memoryGb: number;
  /** Of the directory that all data lies in. */
  readonly fileSystem: string;
  readonly node: string;
  /** Over the last minute, before the run: other work on the machine shows here. */
  readonly load: number;
}

export function readMachine(): Machine {
  const cores = cpus();
  return {
    cores: cores.length,
    cpu: cores[0]?.model ?? "unknown",
    kernel: release(),
    memoryGb: Math.round(totalmem() / gigabyte),
    fileSystem: execFileSync("stat", ["-f", "-c", "%T", tmpdir()], { encoding: "utf8" }).trim(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}
