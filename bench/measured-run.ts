import { type Environment, startProcess } from "./contenders.ts";
import { readEndedChildrenCpuSeconds } from "./process-usage.ts";
import { sleepMs } from "./statistics.ts";

/** What a command used from its start to its end. */
export interface MeasuredRun {
  readonly seconds: number;
  /** Exact only while no other child of this process ends. */
  readonly cpuSeconds: number;
  /** The most that was resident at any of the looks, 10 ms apart; each look sees the peak up to it. */
  readonly peakBytes: number;
}

const pollMs = 10;

/** Runs a command to its end. @throws {Error} with what it wrote, if its exit code is not 0. */
export async function runMeasured(
  command: readonly string[],
  env: Environment = {},
): Promise<MeasuredRun> {
  const cpuSecondsBefore = readEndedChildrenCpuSeconds();
  const startMs = performance.now();
  using running = startProcess(command, env);
  let peakBytes = 0;
  let isOver = false;
  const end = running.wait().finally(() => {
    isOver = true;
  });
  while (!isOver) {
    try {
      peakBytes = Math.max(peakBytes, running.usage().peakBytes);
    } catch {
      // It has just ended; `end` says how.
    }
    await Promise.race([end, sleepMs(pollMs)]);
  }
  await end;
  const seconds = (performance.now() - startMs) / 1000;
  return { seconds, cpuSeconds: readEndedChildrenCpuSeconds() - cpuSecondsBefore, peakBytes };
}
