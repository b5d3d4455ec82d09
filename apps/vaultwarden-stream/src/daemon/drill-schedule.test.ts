import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { beforeEach, describe, expect, it } from "vitest";
import type { Proof } from "../drill/proof.ts";
import type { ProofHistory } from "../drill/proof-store.ts";
import { DrillSchedule, type DrillScheduleDeps } from "./drill-schedule.ts";
import type { RepairAnswer } from "./repair-request.ts";

const hour = 3_600_000;
const day = 24 * hour;
const begin = Date.parse("2026-11-24T12:00:00.000Z");

function proofOf(outcome: Proof["outcome"], endedMs: number): Proof {
  return {
    version: 1,
    outcome,
    reasons: outcome === "proved" ? [] : ["a reason"],
    startedAt: new Date(endedMs - 1_000).toISOString(),
    endedAt: new Date(endedMs).toISOString(),
    host: "h",
    engine: "1",
    timeline: null,
    txid: null,
    at: null,
    database: null,
    files: null,
    previous: null,
  };
}

/** A clock that sleeping moves on, and stops at some moment. */
class Stage {
  nowMs = begin;
  readonly drills: number[] = [];
  readonly snapshots: number[] = [];
  readonly answers: RepairAnswer[] = [];
  readonly lines: string[] = [];
  status: Parameters<DrillScheduleDeps["onStatus"]>[0] | undefined;
  requests: string[] = [];
  outcome: Proof["outcome"] = "proved";
  history: ProofHistory = { keys: [], newest: undefined, lastProved: undefined };
  deps: Partial<DrillScheduleDeps> = {};

  /** Hours from the begin at which there was a drill. */
  async run(untilMs: number): Promise<number[]> {
    const schedule = new DrillSchedule({
      intervalMs: day,
      isServerless: false,
      readProofs: async () => this.history,
      drill: async () => {
        this.drills.push(this.nowMs);
        return { proof: proofOf(this.outcome, this.nowMs), key: "proofs/x.json", cause: undefined };
      },
      snapshot: async () => {
        this.snapshots.push(this.nowMs);
        return "0000000000000009";
      },
      takeRequest: () => this.requests.shift(),
      answer: async (answer) => void this.answers.push(answer),
      onStatus: (status) => {
        this.status = status;
      },
      log: {
        info: (line) => this.lines.push(`info ${line}`),
        warn: (line) => this.lines.push(`warn ${line}`),
        error: (line) => this.lines.push(`error ${line}`),
      },
      now: () => this.nowMs,
      sleep: async (ms, signal) => {
        this.nowMs += ms;
        if (this.nowMs > begin + untilMs) reached.resolve();
        // Where the stage is over, time stands still until somebody stops the schedule.
        if (this.nowMs > begin + untilMs)
          await new Promise((_, no) => signal.addEventListener("abort", no));
      },
      random: () => 0.5,
      ...this.deps,
    });
    const reached = Promise.withResolvers<void>();
    schedule.start();
    await reached.promise;
    await schedule.stop();
    return this.drills.map((ms) => Math.round((ms - begin) / hour));
  }
}

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});

function newest(outcome: Proof["outcome"], endedMs: number, provedMs?: number): ProofHistory {
  const stored = (proof: Proof) => ({ key: `proofs/${proof.outcome}.json`, proof });
  return {
    keys: [],
    newest: stored(proofOf(outcome, endedMs)),
    lastProved: provedMs === undefined ? undefined : stored(proofOf("proved", provedMs)),
  };
}

describe("drills", () => {
  it("begin soon where nothing was proved yet, and not at once; then each interval", async () => {
    expect(await stage.run(3 * day)).toEqual([0, 24, 48]);
    expect((stage.drills[0] ?? 0) - begin).toBeGreaterThan(2 * 60_000);
    expect((stage.drills[0] ?? 0) - begin).toBeLessThan(hour / 2);
  });

  it("follow the newest proof in the store, so that a process which is started again and again does none", async () => {
    stage.history = newest("proved", begin - 20 * hour, begin - 20 * hour);
    expect(await stage.run(2 * day)).toEqual([4, 28]);
    expect(stage.status?.drill?.outcome).toBe("proved");
  });

  it("that are due begin after a while, and not with the start", async () => {
    stage.history = newest("proved", begin - 90 * day, begin - 90 * day);
    expect(await stage.run(hour)).toEqual([0]);
    expect((stage.drills[0] ?? 0) - begin).toBeGreaterThan(2 * 60_000);
  });

  it("do not wait for years because a clock was once wrong", async () => {
    stage.history = newest("proved", begin + 900 * day, begin + 900 * day);
    expect(await stage.run(2 * day)).toEqual([24, 48]);
  });

  it("that found nothing out are tried again sooner", async () => {
    stage.outcome = "inconclusive";
    expect(await stage.run(4 * hour)).toEqual([0, 1, 2, 3]);
    stage = new Stage();
    stage.history = newest("inconclusive", begin - hour / 2, begin - 30 * hour);
    expect(await stage.run(2 * hour)).toEqual([1]);
    expect(stage.status?.lastProvenRestore).toBe("2026-11-24T12:30:00.000Z");
  });

  it("wait until the store says what was proved", async () => {
    let asked = 0;
    stage.deps = {
      readProofs: async () => {
        asked += 1;
        if (asked < 100)
          throw new ObjectStoreError("UNREACHABLE", "no", { operation: "list", key: "" });
        return stage.history;
      },
    };
    expect(await stage.run(2 * hour)).toEqual([2]);
    expect(stage.lines[0]).toContain("not known");
  });

  it("that break are said, and the next ones come", async () => {
    stage.deps = {
      drill: async () => {
        stage.drills.push(stage.nowMs);
        throw new Error("a mistake");
      },
    };
    expect(await stage.run(3 * hour)).toEqual([0, 1, 2]);
    expect(stage.lines[0]).toBe("error a restore drill has failed: a mistake");
  });

  it("do not come where they are switched off", async () => {
    stage.deps = { intervalMs: 0 };
    expect(await stage.run(30 * day)).toEqual([]);
    expect(stage.status).toEqual({ drill: null, lastProvenRestore: null });
  }, 60_000);

  it("end at once when the process does", async () => {
    const started = Promise.withResolvers<void>();
    const ended: unknown[] = [];
    stage.deps = {
      drill: (signal) =>
        new Promise((_, no) => {
          started.resolve();
          signal.addEventListener("abort", () => {
            ended.push(signal.reason);
            no(signal.reason);
          });
        }),
    };
    const schedule = new DrillSchedule({
      intervalMs: day,
      isServerless: true,
      readProofs: async () => stage.history,
      snapshot: async () => "",
      takeRequest: () => undefined,
      answer: async () => {},
      onStatus: (status) => {
        stage.status = status;
      },
      log: { info: () => {}, warn: () => {}, error: () => {} },
      now: () => stage.nowMs,
      sleep: async (ms) => {
        stage.nowMs += ms;
      },
      random: () => 0,
      ...(stage.deps as Pick<DrillScheduleDeps, "drill">),
    });
    schedule.start();
    await started.promise;
    await schedule.stop();
    expect(ended).toHaveLength(1);
    // Nobody counts on a drill where a process lives for minutes.
    expect(stage.status?.drill?.ageMsMax).toBeNull();
  });
});

describe("what a drill has found", () => {
  it.each([
    ["proved", "info", "2026-11-24T12:17:00.000Z"],
    ["failed", "error", null],
    ["inconclusive", "warn", null],
  ] as const)("is in status and log: %s", async (outcome, level, lastProved) => {
    stage.outcome = outcome;
    await stage.run(hour / 2);
    expect(stage.status).toMatchObject({
      drill: { outcome, intervalMs: day, ageMsMax: 2 * day + hour, key: "proofs/x.json" },
      lastProvenRestore: lastProved,
    });
    expect(stage.lines[0]).toMatch(new RegExp(`^${level} `));
  });

  it("does not hide when a restore was proved last", async () => {
    stage.history = newest("failed", begin - hour, begin - 25 * hour);
    await stage.run(hour / 2);
    expect(stage.status).toMatchObject({
      drill: { outcome: "failed" },
      lastProvenRestore: "2026-11-23T11:00:00.000Z",
    });
  });
});

describe("a repair that somebody asks for", () => {
  it("stores a snapshot, proves it, and answers", async () => {
    stage.deps = { intervalMs: 0 };
    stage.requests = ["abc"];
    await stage.run(hour);
    expect([stage.snapshots.length, stage.drills.length]).toEqual([1, 1]);
    expect(stage.answers).toMatchObject([{ id: "abc", txid: "0000000000000009", isProved: true }]);
    expect(stage.status?.drill?.outcome).toBe("proved");
  });

  it("that fails is answered with the reason, and the drills go on", async () => {
    stage.requests = ["abc"];
    stage.deps = {
      snapshot: async () => {
        throw new Error("no epoch is held");
      },
    };
    expect(await stage.run(2 * hour)).toEqual([1]);
    expect(stage.answers).toEqual([
      { id: "abc", txid: null, message: "no epoch is held", isProved: false },
    ]);
  });
});
