import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import { defaultMaintenancePolicy, type MaintenancePolicy } from "wal-replicator/internals";
import { day, hour, minute, second } from "./virtual-clock.ts";

/** `dense`: a busy vault with the default policy, for months. `sparse`: a quiet one for days, with a policy whose times are as much shorter. */
export type Density = "dense" | "sparse";

/** Something that goes wrong for a while, or at once. Times are by the true clock. */
export type Trouble =
  /** The store answers nobody. */
  | { readonly kind: "outage"; readonly atMs: number; readonly endMs: number }
  /** A share of the requests fails, before or after the store has done what it was asked. */
  | {
      readonly kind: "flaky";
      readonly atMs: number;
      readonly endMs: number;
      readonly share: number;
    }
  /** The store lets nobody delete. */
  | { readonly kind: "append-only"; readonly atMs: number; readonly endMs: number }
  /** The machine's clock is wrong by so much. */
  | {
      readonly kind: "skew";
      readonly atMs: number;
      readonly endMs: number;
      readonly skewMs: number;
    }
  /** No drill succeeds. */
  | { readonly kind: "no-drill"; readonly atMs: number; readonly endMs: number }
  /** The process ends and comes back, after a kill in the middle of what it is doing, or without. */
  | { readonly kind: "restart"; readonly atMs: number; readonly isKilled: boolean }
  /** Another machine goes on from what the store had some commits ago; what came after is a dead tail. */
  | { readonly kind: "failover"; readonly atMs: number; readonly lostCommits: number }
  /** The operator restores an earlier moment and starts from there. */
  | { readonly kind: "restore-back"; readonly atMs: number; readonly backMs: number }
  /** A fenced side stores what it has as a branch. */
  | { readonly kind: "branch"; readonly atMs: number; readonly commits: number }
  | { readonly kind: "policy"; readonly atMs: number; readonly policy: MaintenancePolicy };

export interface Scenario {
  readonly seed: number;
  readonly days: number;
  readonly density: Density;
  readonly policy: MaintenancePolicy;
  /** Of this simulation, against the default policy: what takes days there takes so much less here. */
  readonly scale: number;
  /** Listings say the files' own time, as a directory's do. */
  readonly listsTimestamps: boolean;
  /** The spool keeps copies of stored level-0 files. */
  readonly keepsCopies: boolean;
  /** Epochs are keyed by nonce, and files are written again. */
  readonly isDetected: boolean;
  /** Sorted by `atMs`. */
  readonly troubles: readonly Trouble[];
}

/** A Monday, at midnight. */
export const beginMs: number = Date.UTC(2026, 5, 1);

export function makeScenario(seed: number, days: number, density: Density): Scenario {
  const prng = createPrng(seed);
  const scale = density === "dense" ? 1 : prng.pick([24, 48, 96]);
  const policy = density === "dense" ? defaultMaintenancePolicy : scaledPolicy(prng, scale);
  const endMs = beginMs + days * day;
  return {
    seed,
    days,
    density,
    policy,
    scale,
    listsTimestamps: prng.chance(0.4),
    keepsCopies: prng.chance(0.4),
    isDetected: prng.chance(0.15),
    troubles: planTroubles(prng, { policy, scale, endMs }),
  };
}

/** The default policy with every time divided, as far as the levels' windows allow it: the finest stays as it is. */
function scaledPolicy(prng: Prng, scale: number): MaintenancePolicy {
  const [first = 0, secondLevel = 0] = defaultMaintenancePolicy.levelIntervalsMs;
  const { keepMs, snapshotIntervalMs, snapshotAtLeastMs } = defaultMaintenancePolicy;
  const retentionMs = (keepMs.at(-1) as number) / scale;
  return {
    // The longer one is longer than the grace: files that were merged together can be of different standing.
    levelIntervalsMs: [first, secondLevel, prng.pick([15 * minute, hour])],
    keepMs: [
      10 * minute,
      hour,
      Math.max(3 * hour, retentionMs / 3),
      Math.max(6 * hour, retentionMs),
    ],
    snapshotIntervalMs: Math.max(hour, snapshotIntervalMs / scale),
    snapshotAtLeastMs: Math.max(2 * hour, snapshotAtLeastMs / scale),
    snapshotGrowth: prng.pick([0.5, 0.5, 20]),
    graceMs: 20 * minute,
  };
}

interface TroublePlace {
  readonly policy: MaintenancePolicy;
  readonly scale: number;
  readonly endMs: number;
}

/** How often each comes, in days of the unscaled policy. */
const daysBetween = {
  outage: 4,
  flaky: 2.5,
  "append-only": 25,
  skew: 6,
  "no-drill": 20,
  restart: 1.5,
  failover: 9,
  "restore-back": 14,
  branch: 12,
  policy: 35,
} as const;

function planTroubles(prng: Prng, place: TroublePlace): Trouble[] {
  const troubles: Trouble[] = [];
  for (const kind of Object.keys(daysBetween) as Trouble["kind"][]) {
    const meanMs = Math.max((daysBetween[kind] * day) / place.scale, shortestMeanMs);
    let atMs = beginMs + pause(prng, meanMs);
    while (atMs < place.endMs) {
      const trouble = makeTrouble(prng, kind, atMs, place);
      troubles.push(trouble);
      atMs = ("endMs" in trouble ? trouble.endMs : atMs) + minute + pause(prng, meanMs);
    }
  }
  return troubles.sort((a, b) => a.atMs - b.atMs);
}

/** Two days are not to be nothing but troubles. */
const shortestMeanMs = 20 * hour;

function pause(prng: Prng, meanMs: number): number {
  return Math.round(-Math.log(1 - prng.float()) * meanMs);
}

function makeTrouble(
  prng: Prng,
  kind: Trouble["kind"],
  atMs: number,
  { policy, scale }: TroublePlace,
): Trouble {
  const lasting = (fromMs: number, toMs: number): number =>
    atMs + Math.max(minute, Math.round(prng.integer(fromMs, toMs) / scale));
  switch (kind) {
    case "outage": {
      // Often long enough for what is kept the shortest to be over in it.
      const longMs = scale === 1 ? 2 * day : 2 * hour * scale;
      return { kind, atMs, endMs: lasting(10 * minute, prng.chance(0.3) ? longMs : 4 * hour) };
    }
    case "flaky": {
      // Longer than the windows of the second level, which one that fails of the first may hold up.
      const [fromMs, toMs] =
        scale === 1 ? [hour, 12 * hour] : [5 * minute * scale, 40 * minute * scale];
      return { kind, atMs, endMs: lasting(fromMs, toMs), share: prng.pick([0.02, 0.1, 0.4]) };
    }
    case "append-only":
      return { kind, atMs, endMs: lasting(day, 4 * day) };
    case "skew": {
      const skewMs =
        prng.pick([-1, 1]) * prng.integer(10 * second, prng.chance(0.5) ? 4 * minute : 40 * minute);
      // Longer than any look at the store's clock takes.
      const [fromMs, toMs] = scale === 1 ? [10 * minute, day] : [5 * minute * scale, hour * scale];
      return { kind, atMs, endMs: lasting(fromMs, toMs), skewMs };
    }
    case "no-drill":
      return { kind, atMs, endMs: lasting(2 * day, 40 * day) };
    case "restart":
      return { kind, atMs, isKilled: prng.chance(0.6) };
    case "failover":
      return { kind, atMs, lostCommits: prng.pick([0, 1, 3, 12, 40]) };
    case "restore-back":
      return { kind, atMs, backMs: Math.round(prng.integer(2 * hour, 3 * day) / scale) };
    case "branch":
      return { kind, atMs, commits: prng.integer(1, 6) };
    case "policy":
      return { kind, atMs, policy: changedPolicy(prng, policy) };
  }
}

/** Another retention, or levels that are kept for longer or shorter. */
function changedPolicy(prng: Prng, policy: MaintenancePolicy): MaintenancePolicy {
  const factor = prng.pick([0.5, 0.75, 1, 1.5]);
  const [finest = 0, ...rest] = policy.keepMs;
  return {
    ...policy,
    keepMs: [finest, ...rest.map((ms, level) => (level === 0 ? ms : Math.round(ms * factor)))],
  };
}
