import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startWorkload, type Workload } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Stage } from "wal-replicator";
import { MutatedSources, type Mutation } from "../oracle/mutated-sources.ts";
import { type LaunchedEngine, launchEngine } from "../support/engine.ts";

/**
 * Goal: a stage that hangs without an error is told by the watchdog, and so is its end. Method: a copy of the sources in which one stage waits as long as a
 * certain file is there, which no part of the product has a switch for. Times are those of the product, divided by thirty.
 */
const watchPolicy = { intervalMs: 170, stallAfterMs: 1_500 };

/** Waits in the middle of what it is put into. */
const hang = `while ((await import("node:fs")).existsSync(process.env["HANG_FILE"] ?? "")) await new Promise((go) => setTimeout(go, 20));`;

const stages: readonly (Mutation & { readonly stage: Stage })[] = [
  {
    stage: "capture",
    name: "the pass loop does not run any more",
    file: "ship/pass-loop.ts",
    edits: [
      {
        find: "await this.#waitForReason();\n",
        replace: `await this.#waitForReason();\n        ${hang}\n`,
      },
    ],
  },
  {
    stage: "capture",
    name: "a pass hangs while it encodes",
    file: "ship/capture.ts",
    edits: [
      {
        find: "const latest = scan.frames.latest(scan.commit);",
        replace: `${hang}\n    const latest = scan.frames.latest(scan.commit);`,
      },
    ],
  },
  {
    stage: "capture",
    name: "a pass takes new commits for none",
    file: "ship/capture.ts",
    edits: [
      {
        find: "if (logFrames < 0) return",
        replace: `if ((await import("node:fs")).existsSync(process.env["HANG_FILE"] ?? "")) return "nothing";\n    if (logFrames < 0) return`,
      },
    ],
  },
  {
    stage: "upload",
    name: "a PUT is never answered, and knows no time-out",
    file: "ship/session.ts",
    edits: [
      {
        find: "const { replica } = this.#deps;",
        replace: `const { replica } = this.#deps;\n    ${hang}`,
      },
    ],
  },
  {
    stage: "upload",
    name: "the look for a higher epoch, before a PUT, is never answered",
    file: "ship/claim.ts",
    edits: [
      {
        find: "await this.#keeper?.beforeShip(signal);",
        replace: `${hang}\n    await this.#keeper?.beforeShip(signal);`,
      },
    ],
  },
  {
    stage: "maintenance",
    name: "a merge hangs",
    file: "maintain/compact.ts",
    edits: [
      {
        find: "for await (const piece of mergeLtx(inputs)) {",
        replace: `for await (const piece of mergeLtx(inputs)) {\n    ${hang}`,
      },
    ],
  },
];

/** Merges within two seconds; nothing else of it is due within a test. */
const maintenance = {
  levelIntervalsMs: [1_000],
  keepMs: [3_600_000, 86_400_000],
  snapshotIntervalMs: 3_600_000,
  snapshotAtLeastMs: 86_400_000,
};

let directory: string;
let hangFile: string;
let writer: Workload | undefined;
let engine: LaunchedEngine | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "stalls-"));
  hangFile = join(directory, "hang");
  process.env["HANG_FILE"] = hangFile;
});
afterEach(async () => {
  delete process.env["HANG_FILE"];
  rmSync(hangFile, { force: true });
  await writer?.kill();
  writer = undefined;
  await engine?.kill();
  engine = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function stream(module: string, policy = watchPolicy): Promise<LaunchedEngine> {
  const database = join(directory, "app.db");
  writer = await startWorkload({ databasePath: database, seed: 7, stepsPerSecond: 30 });
  engine = await launchEngine({
    database,
    replica: join(directory, "replica"),
    syncIntervalMs: 50,
    maintenance,
    watchPolicy: policy,
    module,
  });
  await engine.started;
  await engine.flush();
  return engine;
}

describe("a stage that hangs without an error", () => {
  it.each(stages)("is told and so is its end ($stage): $name", async (mutation) => {
    using sources = new MutatedSources(mutation);
    const running = await stream(sources.module);
    if (mutation.stage === "maintenance") await running.waitFor("compacted");
    writeFileSync(hangFile, "");
    // On a loaded machine another one may be held up for a moment too.
    const stalled = await running.waitFor("stalled", ({ stage }) => stage === mutation.stage);
    const { stalls } = await running.status();
    expect(stalls.map(({ stage }) => stage)).toContain(mutation.stage);
    if (mutation.stage !== "maintenance") {
      expect(stalled.bytes).toBeGreaterThan(0);
      expect((await running.status()).storeFailure).toBeUndefined();
    }
    rmSync(hangFile);
    const ended = await running.waitFor("stall-ended", ({ stage }) => stage === mutation.stage);
    expect(ended.stalledForMs).toBeGreaterThanOrEqual(watchPolicy.stallAfterMs);
    await writer?.stop();
    writer = undefined;
    await running.flush();
    expect(existsSync(hangFile)).toBe(false);
    await expect.poll(async () => (await running.status()).stalls).toEqual([]);
  });

  it("is none where the sources are as they are: no alarm in a stream that works", async () => {
    using sources = new MutatedSources({ name: "control", file: "ship/capture.ts", edits: [] });
    // A loaded machine may hold a stage up for a second, and that is no stall.
    const patient = { ...watchPolicy, stallAfterMs: 5_000 };
    const running = await stream(sources.module, patient);
    writeFileSync(hangFile, "");
    await running.waitFor("compacted");
    await new Promise((resolve) => setTimeout(resolve, 2 * patient.stallAfterMs));
    expect(running.events.filter(({ type }) => type === "stalled")).toEqual([]);
    expect((await running.status()).stalls).toEqual([]);
  });
});
