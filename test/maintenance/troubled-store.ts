import {
  type Fault,
  FaultyStore,
  type ObjectStore,
  type StoreCall,
  type StoreOperation,
} from "@vaultwarden-stream/object-store";
import type { VirtualClock } from "./virtual-clock.ts";

/** What is wrong with the store right now. */
export interface Weather {
  isAway: boolean;
  isAppendOnly: boolean;
  /** 0 to 1. */
  failingShare: number;
}

/** Who asks. Each is counted apart. */
export type Asker = "ship" | "maintain" | "retain" | "files" | "prune" | "start";

export type RequestCounts = Map<`${Asker} ${StoreOperation}`, number>;

/** One process's way to the store. */
export interface StoreWayOptions {
  readonly seed: number;
  readonly clock: VirtualClock;
  readonly weather: Weather;
  readonly counts: RequestCounts;
  /** Called before each request; whatever it does happens before the store is asked. */
  readonly before: (asker: Asker, call: StoreCall) => Promise<void> | undefined;
  /** Of a process that was killed no request arrives any more. */
  readonly isDead: () => boolean;
}

/**
 * Faults are drawn by what is asked, and when, and not in the order in which it is asked: that order is the event loop's, and the same seed
 * has to be the same run.
 */
export function troubledStore(
  inner: ObjectStore,
  asker: Asker,
  options: StoreWayOptions,
): FaultyStore {
  const { clock, weather, counts, isDead, before } = options;
  return new FaultyStore(inner, (call): Fault | undefined => {
    const name = `${asker} ${call.operation}` as const;
    counts.set(name, (counts.get(name) ?? 0) + 1);
    if (isDead() || weather.isAway) return { kind: "error-before", code: "UNREACHABLE" };
    if (weather.isAppendOnly && call.operation.startsWith("delete")) {
      return { kind: "error-before", code: "FORBIDDEN" };
    }
    if (weather.failingShare > 0) {
      const { failingShare } = weather;
      // Some of what maintenance asks for fails every time: what depends on that stands still, and the rest does not.
      const isDown = draw(options.seed, `down ${call.key}`) < failingShare / 2;
      if (isDown && asker === "maintain") return { kind: "error-before", code: "UNREACHABLE" };
      const drawn = draw(options.seed, `${name} ${call.key} ${call.nth} ${clock.nowMs}`);
      if (drawn < failingShare) return faults[Math.floor((drawn / failingShare) * faults.length)];
    }
    const first = before(asker, call);
    return first === undefined ? undefined : { kind: "delay", wait: () => first };
  });
}

const faults: readonly Fault[] = [
  { kind: "error-before", code: "UNREACHABLE" },
  { kind: "error-after", code: "UNREACHABLE" },
  { kind: "error-before", code: "THROTTLED", retryAfterMs: 1_000 },
  { kind: "error-after", code: "STORE_FAILED" },
  { kind: "cut-body", afterBytes: 60 },
];

/** 0 … 1, the same for the same seed and text (FNV-1a, mixed once more). */
export function draw(seed: number, text: string): number {
  let hash = (seed ^ 0x811c_9dc5) >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb_352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846c_a68b);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
