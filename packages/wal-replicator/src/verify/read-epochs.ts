import { isNotFound, type ObjectInfo, type RequestOptions } from "@vaultwarden-stream/object-store";
import type { ListedEpoch } from "../replica/epoch-log.ts";
import { readLeaseObject, readRecord, readRelease } from "../replica/epoch-objects.ts";
import type { EpochLease, EpochRecord, EpochRelease } from "../replica/epoch-record.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { type EpochKeyParts, type EpochObject, parseEpochKey } from "../replica/replica-layout.ts";

/** What is at a key below `epochs/`. */
type Seen<T> =
  | { readonly state: "read"; readonly value: T }
  | { readonly state: "damaged"; readonly message: string }
  /** The store lists it, and says that it is not there. */
  | { readonly state: "vanished" };

/** One object below `epochs/`. */
export type EpochObjectSeen = EpochKeyParts & { readonly key: string; readonly modified: Date } & (
    | { readonly object: "record"; readonly seen: Seen<EpochRecord> }
    | { readonly object: "released"; readonly seen: Seen<EpochRelease> }
    | { readonly object: "lease"; readonly seen: Seen<EpochLease> }
  );

/** Everything below `epochs/`, as it was found. */
export class EpochObjects {
  /** Ascending by number; of one number, the key without a nonce first. */
  readonly all: readonly EpochObjectSeen[];
  readonly #byId: ReadonlyMap<string, EpochObjectSeen>;

  constructor(objects: readonly EpochObjectSeen[]) {
    this.all = objects.toSorted((a, b) =>
      a.epoch === b.epoch ? ((a.nonce ?? "") < (b.nonce ?? "") ? -1 : 1) : a.epoch - b.epoch,
    );
    this.#byId = new Map(objects.map((one) => [nameOf(one, one.object), one]));
  }

  has(id: EpochKeyParts, object: EpochObject): boolean {
    return this.#byId.has(nameOf(id, object));
  }

  /** Undefined if there is none that can be read. */
  lease(id: EpochKeyParts): EpochLease | undefined {
    const found = this.#byId.get(nameOf(id, "lease"));
    return found?.object === "lease" && found.seen.state === "read" ? found.seen.value : undefined;
  }

  /** Undefined if there is none that can be read. */
  release(id: EpochKeyParts): EpochRelease | undefined {
    const found = this.#byId.get(nameOf(id, "released"));
    const isRead = found?.object === "released" && found.seen.state === "read";
    return isRead ? found.seen.value : undefined;
  }

  /** The epochs whose records can be read, each once, ascending, as `EpochLog.all` has them. */
  readable(): ListedEpoch[] {
    const byNonce = new Map<string, ListedEpoch>();
    for (const { object, seen, epoch, nonce, modified } of this.all) {
      if (object !== "record" || seen.state !== "read") continue;
      const id = { epoch, nonce };
      const record = seen.value;
      const release = this.release(id);
      const isItsOwn = release?.nonce === null || release?.nonce === record.nonce;
      // Where an epoch lies under both forms, the key with the nonce has its lease: it comes last.
      byNonce.set(record.nonce, {
        record,
        released: release !== undefined && isItsOwn ? release : null,
        id: {
          ...id,
          isReleased: this.has(id, "released"),
          recordModified: modified,
          leaseModified: this.#byId.get(nameOf(id, "lease"))?.modified,
        },
      });
    }
    return [...byNonce.values()].sort(({ record: a }, { record: b }) =>
      a.epoch === b.epoch ? (a.nonce < b.nonce ? -1 : 1) : a.epoch - b.epoch,
    );
  }
}

/**
 * Reads everything below `epochs/`: one LIST, one GET an object. What cannot be read is a finding here, and no end: whoever verifies wants to
 * know of all of it.
 *
 * @throws errors of the store as they are, apart from "not found".
 */
export async function readEpochObjects(
  root: ReplicaRoot,
  request: RequestOptions,
): Promise<EpochObjects> {
  const listed: (EpochKeyParts & { object: EpochObject; info: ObjectInfo })[] = [];
  for await (const page of root.store.list(`${root.prefix}epochs/`, request)) {
    for (const info of page) {
      const parts = parseEpochKey(info.key.slice(root.prefix.length));
      if (parts !== undefined) listed.push({ ...parts, info });
    }
  }
  const objects: EpochObjectSeen[] = [];
  for (let start = 0; start < listed.length; start += readsAtOnce) {
    const batch = listed
      .slice(start, start + readsAtOnce)
      .map(async ({ info, object, ...id }): Promise<EpochObjectSeen> => {
        const common = { ...id, key: info.key, modified: info.lastModified };
        switch (object) {
          case "record":
            return { ...common, object, seen: await look(readRecord(root, id, request)) };
          case "released":
            return { ...common, object, seen: await look(readRelease(root, id, request)) };
          case "lease": {
            const reading = readLeaseObject(root, id, request).then(({ lease }) => lease);
            return { ...common, object, seen: await look(reading) };
          }
        }
      });
    objects.push(...(await Promise.all(batch)));
  }
  return new EpochObjects(objects);
}

const readsAtOnce = 8;

async function look<T>(reading: Promise<T>): Promise<Seen<T>> {
  try {
    return { state: "read", value: await reading };
  } catch (error) {
    if (isNotFound(error)) return { state: "vanished" };
    if (!(error instanceof ReplicaError)) throw error;
    return { state: "damaged", message: error.message };
  }
}

function nameOf({ epoch, nonce }: EpochKeyParts, object: EpochObject): string {
  return `${epoch} ${nonce ?? ""} ${object}`;
}
