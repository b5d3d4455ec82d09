import { describe, expect, it } from "vitest";
import { Checkpointer, planCheckpoint } from "./checkpointer.ts";

const policy = { passiveFrames: 1_000, barrierBytes: 8 << 20 };

describe("planCheckpoint", () => {
  it.each([
    ["leaves a small WAL alone", 999, 4096, "none"],
    ["tries without the write lock first", 1_000, 4096, "passive"],
    ["takes the barrier beyond the bound", 2_037, 4096, "barrier"],
    ["counts bytes, not frames, for the bound", 200, 65536, "barrier"],
    ["goes by frames with small pages", 1_000, 512, "passive"],
  ])("%s", (_, frames, pageSize, need) => {
    expect(planCheckpoint(policy, frames, pageSize, false)).toBe(need);
  });

  it.each([0, 1, 10_000])("moves %d frames in a quiet time, without the write lock", (frames) => {
    expect(planCheckpoint(policy, frames, 4096, true)).toBe("passive");
  });
});

/** A WAL by its numbers: what is committed, captured and in the database file. `commit` is what a writer does during one step. */
class FakeWal {
  committed = 10_000;
  captured = 10_000;
  moved = 0;
  nowMs = 0;
  isLocked = false;
  /** Frames from here on are needed by a read of the application. */
  readerAt = Number.POSITIVE_INFINITY;
  /** The application moves the frames itself whenever we try. */
  isBusy = false;
  readonly steps: string[] = [];
  rotate = async (): Promise<void> => {
    this.captured = this.committed;
    this.steps.push("rotate");
  };
  readonly checkpointer: Checkpointer;

  constructor(commit: (step: number) => number) {
    const write = (): void => {
      this.nowMs += 1;
      if (!this.isLocked) this.committed += commit(this.steps.length);
    };
    this.checkpointer = new Checkpointer({
      policy,
      pageSize: 4096,
      control: {
        checkpoint: (mode) => {
          if (mode === "PASSIVE") {
            this.moved = Math.max(this.moved, Math.min(this.captured, this.readerAt));
            this.steps.push(mode);
            write();
          }
          return {
            isBusy: mode === "PASSIVE" && this.isBusy && !this.isLocked,
            logFrames: this.committed,
            checkpointedFrames: this.moved,
          };
        },
      },
      barrier: {
        tryBeginImmediate: () => {
          this.steps.push("lock");
          this.isLocked = true;
          return true;
        },
        endTransaction: () => {
          this.steps.push("unlock");
          this.isLocked = false;
        },
      },
      rotate: () => this.rotate(),
      walFrames: () => this.captured,
      at: () => {},
      nowMs: () => this.nowMs,
    });
  }
}

const barrier = ["lock", "rotate", "PASSIVE", "rotate", "unlock"];

describe("Checkpointer", () => {
  it("never takes the write lock if no commit comes in between", async () => {
    const wal = new FakeWal(() => 0);
    const outcome = await wal.checkpointer.run(false);
    expect(outcome).toEqual({ walFrames: 10_000, checkpointedFrames: 10_000, writeLockHeldMs: 0 });
    expect(wal.steps).toEqual(["PASSIVE", "rotate"]);
  });

  it("moves all but a short tail before it takes the write lock", async () => {
    const wal = new FakeWal((step) => (step < 2 ? 5_000 : 100));
    const outcome = await wal.checkpointer.run(false);
    expect(wal.steps).toEqual(["PASSIVE", "rotate", "PASSIVE", "rotate", ...barrier]);
    expect(outcome).toEqual({ walFrames: 15_100, checkpointedFrames: 15_100, writeLockHeldMs: 1 });
  });

  it("takes the write lock in the end if the writer is too fast", async () => {
    const wal = new FakeWal(() => 5_000);
    await wal.checkpointer.run(false);
    expect(wal.steps).toEqual([...Array(3).fill(["PASSIVE", "rotate"]).flat(), ...barrier]);
  });

  it("does not take it while a long read of the application needs the frames", async () => {
    const wal = new FakeWal(() => 100);
    wal.readerAt = 2_000;
    expect(await wal.checkpointer.run(false)).toBeUndefined();
    expect(wal.steps).toEqual(["PASSIVE", "rotate"]);
  });

  it("does not take it if the WAL was restarted meanwhile", async () => {
    const wal = new FakeWal((step) => (step === 1 ? 100 : 0));
    const { rotate } = wal;
    wal.rotate = async () => {
      await rotate();
      wal.committed = 3;
      wal.moved = 0;
    };
    expect((await wal.checkpointer.run(false))?.writeLockHeldMs).toBe(0);
    expect(wal.steps).toEqual(["PASSIVE", "rotate"]);
  });

  it("takes it also while the application checkpoints time and again by itself", async () => {
    const wal = new FakeWal(() => 100);
    wal.isBusy = true;
    await wal.checkpointer.run(false);
    expect(wal.steps).toContain("lock");
  });

  it("rests for twenty times as long as it held the lock", async () => {
    const wal = new FakeWal(() => 100);
    await wal.checkpointer.run(false);
    const endedMs = wal.nowMs;
    wal.steps.length = 0;
    wal.nowMs = endedMs + 18;
    expect((await wal.checkpointer.run(false))?.writeLockHeldMs).toBe(0);
    // Nor does it make a file of what was committed since: the WAL could not restart.
    expect(wal.steps).toEqual(["PASSIVE"]);
    wal.nowMs = endedMs + 20;
    await wal.checkpointer.run(false);
    expect(wal.steps).toContain("lock");
  });

  it("lets go of the write lock if capturing fails", async () => {
    const wal = new FakeWal(() => 100);
    const failing = wal.checkpointer.run(false);
    const { push } = wal.steps;
    wal.steps.push = (...steps) => {
      if (steps[0] === "rotate" && wal.isLocked) throw new Error("disk");
      return push.apply(wal.steps, steps);
    };
    await expect(failing).rejects.toThrow("disk");
    expect(wal.isLocked).toBe(false);
  });
});
