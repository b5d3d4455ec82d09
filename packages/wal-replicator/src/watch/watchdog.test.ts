import { beforeEach, describe, expect, it } from "vitest";
import {
  defaultWatchPolicy,
  type StageReading,
  type StallEndedEvent,
  type StalledEvent,
  Watchdog,
} from "./watchdog.ts";

const idle: StageReading = { isBusy: false, bytes: 0, mark: "0", isAnnounced: false };
const { intervalMs } = defaultWatchPolicy;
/** What the monotonic clock and the calendar differ by. */
const epochMs = 1_795_557_600_000;

let clockMs: number;
let events: (StalledEvent | StallEndedEvent)[];
let reading: () => StageReading;
let watchdog: Watchdog;

beforeEach(() => {
  clockMs = 0;
  events = [];
  reading = () => idle;
  watchdog = new Watchdog({
    stages: [{ stage: "upload", look: () => reading() }],
    policy: defaultWatchPolicy,
    now: () => epochMs + clockMs,
    nowMs: () => clockMs,
    sleep: async () => {},
    emit: (event) => events.push(event),
  });
});

/** Looks as often as it would in so many milliseconds. */
function watch(ms: number): void {
  for (const endMs = clockMs + ms; clockMs + intervalMs <= endMs; ) {
    clockMs += intervalMs;
    watchdog.look();
  }
}

describe("Watchdog", () => {
  it("tells a stage that hangs within a minute, once, and how much waits", () => {
    watchdog.look();
    // Begins to hang right behind a look.
    reading = () => ({ ...idle, isBusy: true, bytes: 4_096, mark: "1" });
    watch(60_000);
    const stall = { stage: "upload", sinceMs: epochMs + intervalMs, bytes: 4_096 };
    expect(events).toEqual([{ type: "stalled", ...stall }]);
    expect(watchdog.stalls).toEqual([stall]);
    reading = () => ({ ...idle, isBusy: true, bytes: 8_192, mark: "1" });
    watch(60_000);
    expect(events).toHaveLength(1);
    expect(watchdog.stalls).toEqual([{ ...stall, bytes: 8_192 }]);
  });

  it("tells when it gets on again, and for how long it did not", () => {
    reading = () => ({ ...idle, isBusy: true, mark: "1" });
    watch(100_000);
    reading = () => ({ ...idle, isBusy: true, mark: "2" });
    watch(intervalMs);
    expect(events.slice(1)).toEqual([
      { type: "stall-ended", stage: "upload", stalledForMs: 100_000 },
    ]);
    expect(watchdog.stalls).toEqual([]);
    watch(60_000);
    expect(events.map(({ type }) => type)).toEqual(["stalled", "stall-ended", "stalled"]);
  });

  it("also ends with nothing left to do, and with an error that says it all", () => {
    for (const end of [
      { ...idle, mark: "1" },
      { ...idle, isBusy: true, mark: "1", isAnnounced: true },
    ]) {
      events = [];
      reading = () => ({ ...idle, isBusy: true, mark: "1" });
      watch(60_000);
      reading = () => end;
      watch(intervalMs);
      expect(events.map(({ type }) => type)).toEqual(["stalled", "stall-ended"]);
    }
  });

  it("says nothing of what is slow, idle, or told as a failure", () => {
    watch(600_000);
    reading = () => ({ ...idle, isBusy: true, mark: String(Math.floor(clockMs / 30_000)) });
    watch(600_000);
    reading = () => ({ ...idle, isBusy: true, mark: "1", isAnnounced: true });
    watch(600_000);
    expect(events).toEqual([]);
  });

  it("counts no time in which nothing was to be done", () => {
    reading = () => ({ ...idle, mark: "1" });
    watch(600_000);
    reading = () => ({ ...idle, isBusy: true, mark: "1" });
    watch(30_000);
    expect(events).toEqual([]);
    watch(30_000);
    expect(events).toHaveLength(1);
  });

  it("takes a stage that cannot be seen for one that hangs", () => {
    reading = () => {
      throw new Error("disk I/O error");
    };
    watch(60_000);
    expect(events).toMatchObject([{ type: "stalled", stage: "upload" }]);
  });

  it("looks on until it is ended", async () => {
    const end = new AbortController();
    let count = 0;
    const running = new Watchdog({
      stages: [
        {
          stage: "upload",
          look: () => {
            count += 1;
            return idle;
          },
        },
      ],
      policy: defaultWatchPolicy,
      now: () => 0,
      nowMs: () => 0,
      sleep: async (ms) => {
        expect(ms).toBe(intervalMs);
        if (count === 3) end.abort();
      },
      emit: () => {},
    }).run(end.signal);
    await running;
    expect(count).toBe(3);
  });
});
