import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type RunningChild, startChild } from "@vaultwarden-stream/testkit";
import type { Environment } from "./contenders.ts";
import type { PushedMessage } from "./files-main.ts";
import type { MeasuredRun } from "./measured-run.ts";
import { readProcessUsage, resetPeak } from "./process-usage.ts";

const entry = fileURLToPath(new URL("./files-main.ts", import.meta.url));

export function pullCommand(
  nodeArguments: readonly string[],
  url: string,
  tree: string,
  parallel: number,
): readonly string[] {
  return [process.execPath, ...nodeArguments, entry, "pull", url, tree, String(parallel)];
}

export interface MeasuredPush extends MeasuredRun {
  /** Of the push alone, as the process itself says; `seconds` is what whoever waits for it sees. */
  readonly pushSeconds: number;
}

/** Ours as a process that goes on: it pushes at its start, and again when told. */
export class PushingProcess implements AsyncDisposable {
  readonly #startedAtMs = performance.now();
  readonly #child: RunningChild;
  /** Until the end of the last push. */
  #cpuSeconds = 0;

  /** @param parallel - uploads at once. */
  constructor(
    options: {
      readonly url: string;
      readonly tree: string;
      readonly stateDirectory: string;
      readonly parallel: number;
      readonly nodeArguments: readonly string[];
    },
    env: Environment,
  ) {
    const { url, tree, stateDirectory, parallel, nodeArguments } = options;
    this.#child = startChild(
      process.execPath,
      [...nodeArguments, entry, "push", url, tree, stateDirectory, String(parallel)],
      { env },
      ["ignore", "pipe", "pipe", "ipc"],
    );
  }

  /** Waits for the first push. What the process needed to start is in it. */
  first(): Promise<MeasuredPush> {
    return this.#measure(this.#startedAtMs);
  }

  again(): Promise<MeasuredPush> {
    const startMs = performance.now();
    resetPeak(this.#child.pid);
    this.#child.process.send("again");
    return this.#measure(startMs);
  }

  async #measure(startMs: number): Promise<MeasuredPush> {
    const ended = this.#child.exited.then(({ stderr }) => {
      throw new Error(`the push ended:\n${stderr}`);
    });
    const [message] = (await Promise.race([once(this.#child.process, "message"), ended])) as [
      PushedMessage,
    ];
    const seconds = (performance.now() - startMs) / 1000;
    if (message.notes.length > 0) throw new Error(`not all was stored:\n${message.notes}`);
    const usage = readProcessUsage(this.#child.pid);
    if (usage === undefined) throw new Error("the process that pushes is gone");
    const cpuSeconds = usage.cpuSeconds - this.#cpuSeconds;
    this.#cpuSeconds = usage.cpuSeconds;
    return { seconds, pushSeconds: message.seconds, cpuSeconds, peakBytes: usage.peakBytes };
  }

  /** Kills it: nothing of a push that is over is lost by that. Waits until it is gone, with what it used. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.process.kill("SIGKILL");
    await this.#child.exited;
  }
}
