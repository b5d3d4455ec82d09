import type { S3FaultPlanData } from "@vaultwarden-stream/testkit";
import { openTestStore, type TestStore, type TestStoreName } from "../support/stores.ts";
import { Host } from "./host.ts";

/**
 * Short enough for a test. The store's clock counts whole seconds, so that a lease is taken for stale at 3 s: what renews within 2 s is alive.
 */
export const leaseIntervalMs = 700;

export interface StageOptions {
  readonly store: TestStoreName;
  /** How far the clocks of the two hosts are off. */
  readonly clockOffsetsMs?: readonly [number, number];
  /** What goes wrong between the hosts and a server of ours. */
  readonly faults?: S3FaultPlanData;
}

/** Two machines and a store that both know. */
export class Stage implements AsyncDisposable {
  readonly store: TestStore;
  readonly a: Host;
  readonly b: Host;
  /** Whether the store keeps two writers apart, so that a timeline can be continued. */
  readonly isExclusive: boolean;

  private constructor(store: TestStore, { store: name, clockOffsetsMs, faults }: StageOptions) {
    const { replica } = store;
    const [offsetA, offsetB] = clockOffsetsMs ?? [0, 0];
    this.store = store;
    this.a = new Host("A", { replica, leaseIntervalMs, clockOffsetMs: offsetA });
    this.b = new Host("B", { replica, leaseIntervalMs, clockOffsetMs: offsetB });
    // What goes wrong with a probe is no verdict.
    this.isExclusive = exclusiveStores.has(name) && faults === undefined;
  }

  static async open(options: StageOptions): Promise<Stage> {
    const { store, faults } = options;
    return new Stage(await openTestStore(store, faults === undefined ? {} : { faults }), options);
  }

  get hosts(): readonly [Host, Host] {
    return [this.a, this.b];
  }

  /** Nobody writes any more, and nothing goes wrong any more. */
  async end(): Promise<void> {
    for (const host of this.hosts) await host.end();
    await this.store.server?.setFaults();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts) await host[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
  }
}

const exclusiveStores: ReadonlySet<TestStoreName> = new Set<TestStoreName>([
  "directory",
  "aws",
  "minio",
]);
