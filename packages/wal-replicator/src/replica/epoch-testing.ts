import {
  CountingStore,
  MemoryStore,
  type ObjectBody,
  type ObjectStore,
  ObjectStoreError,
  type PutOptions,
} from "@vaultwarden-stream/object-store";
import { toTxid } from "../ltx/txid.ts";
import type { EpochMode } from "./epoch.ts";
import type { EpochRecord } from "./epoch-record.ts";
import type { ReplicaRoot } from "./replica.ts";
import { formatTimelineName } from "./replica-layout.ts";

export const exclusive: EpochMode = { kind: "exclusive" };
export const detected: EpochMode = { kind: "detected", alsoPlain: true };
export const detectedOnly: EpochMode = { kind: "detected", alsoPlain: false };

export function rootOf(store: ObjectStore): ReplicaRoot {
  return { store, prefix: "vault/", timelinesUnder: "db/" };
}

/** Makes the record of `owner`'s next epoch: its nonce begins with the text, which must be hex. */
export function recordFor(
  owner: string,
  rest: Partial<Pick<EpochRecord, "kind" | "parent">> = {},
): (epoch: number) => EpochRecord {
  return (epoch) => {
    const nonce = owner + String(epoch).padStart(32 - owner.length, "0");
    return {
      version: 1,
      epoch,
      nonce,
      kind: "writer",
      owner: {
        host: owner,
        pid: 7,
        installation: { hostId: "", spoolInode: "1", spoolBornAt: "2" },
      },
      timeline: formatTimelineName(epoch, nonce),
      parent: epoch === 1 ? null : { timeline: formatTimelineName(1, nonce), txid: toTxid(5) },
      startedAt: "2026-11-24T22:00:00.123Z",
      ...rest,
    };
  };
}

export async function putText(store: ObjectStore, key: string, text: string): Promise<void> {
  await store.put(key, new TextEncoder().encode(text));
}

export async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of store.list("")) keys.push(...page.map(({ key }) => key));
  return keys;
}

/** How a store takes conditions. `ignores` overwrites and says "created", `inverts` refuses what is absent, `refuses` answers with an error. */
export type Conditions = "honours" | "ignores" | "inverts" | "refuses";

/** Counts requests, has a clock of its own, and takes conditions in one of the ways that real stores do. */
export class TestStore extends CountingStore {
  readonly #conditions: Conditions;

  /** @param nowMs - milliseconds since the Unix epoch, by the store's own clock. */
  constructor(conditions: Conditions = "honours", nowMs: () => number = () => Date.now()) {
    super(new MemoryStore({ now: () => new Date(nowMs()) }));
    this.#conditions = conditions;
  }

  override async putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    const outcome = await super.putIfAbsent(key, body, options);
    if (this.#conditions === "honours") return outcome;
    if (this.#conditions === "inverts") {
      if (outcome === "created") await this.inner.delete(key);
      return outcome === "created" ? "exists" : "created";
    }
    if (this.#conditions === "refuses") {
      if (outcome === "created") await this.inner.delete(key);
      throw new ObjectStoreError("STORE_FAILED", "not implemented", {
        operation: "putIfAbsent",
        key,
      });
    }
    await this.inner.put(key, body, options);
    return "created";
  }
}
