import type { RequestOptions } from "@vaultwarden-stream/object-store";
import { readRecord, readRelease } from "./epoch-objects.ts";
import type { EpochRecord, EpochRelease } from "./epoch-record.ts";
import type { ReplicaRoot } from "./replica.ts";
import { type EpochKeyParts, parseEpochKey, parseTimelineName } from "./replica-layout.ts";

/** What the store says of an epoch. */
export interface Epoch {
  readonly record: EpochRecord;
  /** Null: its owner still writes, or ended without a release. */
  readonly released: EpochRelease | null;
}

/** What one LIST tells of an epoch. */
export interface EpochId extends EpochKeyParts {
  readonly isReleased: boolean;
  readonly recordModified: Date;
  /** When the lease was last renewed, by the store's clock; undefined: never, the record itself is the first lease. */
  readonly leaseModified: Date | undefined;
}

/** An epoch, and what was listed of it. */
export interface ListedEpoch extends Epoch {
  readonly id: EpochId;
}

/**
 * The epochs of a replica, as of one LIST. Records are read when they are needed, and once: a start needs the newest and no other.
 *
 * Both forms of keys are read. Where a store is not proved to be exclusive, an epoch may lie under both, and two epochs may have one
 * number: `ids` has each object, everything else has each epoch once, ordered by number and nonce.
 */
export class EpochLog {
  readonly #root: ReplicaRoot;
  readonly #options: RequestOptions;
  /** Ascending; of one number, the key without a nonce first. Each is a record that was listed. */
  readonly ids: readonly EpochId[];
  readonly #epochs: Map<string, Promise<Epoch>>;

  private constructor(
    root: ReplicaRoot,
    options: RequestOptions,
    ids: readonly EpochId[],
    epochs: Map<string, Promise<Epoch>>,
  ) {
    this.#root = root;
    this.#options = options;
    this.ids = ids;
    this.#epochs = epochs;
  }

  /** One LIST of `epochs/`. No ids: nobody ever wrote here. The options go for what is read later, too. */
  static async read(root: ReplicaRoot, options: RequestOptions = {}): Promise<EpochLog> {
    return new EpochLog(root, options, await listIds(root, options), new Map());
  }

  /** As `read`, for whoever asks who wrote and not who has given up: a damaged release keeps nobody from a restore. */
  static async readRecords(root: ReplicaRoot, options: RequestOptions = {}): Promise<EpochLog> {
    const ids = await listIds(root, options);
    const unreleased = ids.map((id) => ({ ...id, isReleased: false }));
    return new EpochLog(root, options, unreleased, new Map());
  }

  /** One LIST again. What was read of an object that is still the same is not read again. */
  async readAgain(options: RequestOptions = {}): Promise<EpochLog> {
    return new EpochLog(this.#root, options, await listIds(this.#root, options), this.#epochs);
  }

  /** The highest number taken so far, by writers and branches; 0: none. */
  get highestNumber(): number {
    return this.ids.at(-1)?.epoch ?? 0;
  }

  /**
   * One GET, and one more for a release.
   *
   * @throws {ReplicaError} `REPLICA_MALFORMED`: nothing is decided on an epoch that cannot be read.
   */
  async get(id: EpochId): Promise<Epoch> {
    const { recordModified, isReleased } = id;
    const name = `${formatId(id)} ${recordModified.getTime()} ${isReleased}`;
    const known = this.#epochs.get(name);
    if (known !== undefined) return await known;
    const reading = this.#read(id);
    this.#epochs.set(name, reading);
    try {
      return await reading;
    } catch (error) {
      this.#epochs.delete(name);
      throw error;
    }
  }

  /** The newest epoch of a writer. Branches claim nothing and are passed over. */
  async newest(): Promise<Epoch | undefined> {
    for await (const epoch of this.writers()) return epoch;
    return undefined;
  }

  /** The writers' epochs, newest first, each read when it is asked for. */
  async *writers(): AsyncGenerator<Epoch, void, undefined> {
    for (const group of this.#groups().toReversed()) {
      for (const epoch of (await this.#readGroup(group)).toReversed()) {
        if (epoch.record.kind === "writer") yield epoch;
      }
    }
  }

  /** All epochs, ascending. Reads some at a time. */
  async all(): Promise<ListedEpoch[]> {
    const epochs: ListedEpoch[] = [];
    const groups = this.#groups();
    for (let start = 0; start < groups.length; start += readsAtOnce) {
      const batch = groups.slice(start, start + readsAtOnce).map((group) => this.#readGroup(group));
      epochs.push(...(await Promise.all(batch)).flat());
    }
    return epochs;
  }

  /**
   * The record of the epoch that began a timeline, found by the number in the timeline's name. It has the parent that every epoch of
   * the timeline has.
   *
   * @returns undefined if it is not there.
   */
  async foundingRecord(timeline: string): Promise<EpochRecord | undefined> {
    const founder = parseTimelineName(timeline);
    if (founder === undefined) return undefined;
    const { epoch, nonce } = founder;
    for (const id of this.ids) {
      if (id.epoch !== epoch || (id.nonce ?? nonce) !== nonce) continue;
      const { record } = await this.get(id);
      if (record.timeline === timeline) return record;
    }
    return undefined;
  }

  /** The newest writer that is above `record`: whoever sees one is fenced. Reads only what may be above. */
  async writerAbove(record: EpochRecord): Promise<EpochRecord | undefined> {
    const own = record.nonce.slice(0, 8);
    let newest: EpochRecord | undefined;
    for (const id of this.ids) {
      if (id.epoch < record.epoch) continue;
      if (id.epoch === record.epoch && id.nonce !== undefined && id.nonce <= own) continue;
      const { record: other } = await this.get(id);
      if (other.kind === "branch" || compareEpochs(other, record) <= 0) continue;
      if (newest === undefined || compareEpochs(other, newest) > 0) newest = other;
    }
    return newest;
  }

  /** Ids of one number each, ascending. */
  #groups(): EpochId[][] {
    const groups: EpochId[][] = [];
    for (const id of this.ids) {
      const last = groups.at(-1);
      if (last?.[0]?.epoch === id.epoch) last.push(id);
      else groups.push([id]);
    }
    return groups;
  }

  /** The epochs of one number, by nonce, each once: where an epoch lies under both forms, the key with the nonce has its lease. */
  async #readGroup(ids: readonly EpochId[]): Promise<ListedEpoch[]> {
    const read = await Promise.all(ids.map(async (id) => ({ id, ...(await this.get(id)) })));
    const byNonce = new Map(read.map((epoch) => [epoch.record.nonce, epoch]));
    return [...byNonce.values()].sort((a, b) => compareEpochs(a.record, b.record));
  }

  async #read(id: EpochId): Promise<Epoch> {
    const [record, release] = await Promise.all([
      readRecord(this.#root, id, this.#options),
      id.isReleased ? readRelease(this.#root, id, this.#options) : null,
    ]);
    const isItsOwn = release?.nonce === null || release?.nonce === record.nonce;
    return { record, released: isItsOwn ? release : null };
  }
}

/** By number, then by nonce. 0: the same epoch. */
function compareEpochs(
  a: Pick<EpochRecord, "epoch" | "nonce">,
  b: Pick<EpochRecord, "epoch" | "nonce">,
): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  return a.nonce === b.nonce ? 0 : a.nonce < b.nonce ? -1 : 1;
}

const readsAtOnce = 8;

async function listIds(root: ReplicaRoot, options: RequestOptions): Promise<EpochId[]> {
  const records = new Map<string, EpochKeyParts & { readonly recordModified: Date }>();
  const leases = new Map<string, Date>();
  const released = new Set<string>();
  for await (const page of root.store.list(`${root.prefix}epochs/`, options)) {
    for (const { key, lastModified } of page) {
      const parsed = parseEpochKey(key.slice(root.prefix.length));
      if (parsed === undefined) continue;
      const { object, ...parts } = parsed;
      const name = formatId(parts);
      if (object === "record") records.set(name, { ...parts, recordModified: lastModified });
      if (object === "lease") leases.set(name, lastModified);
      if (object === "released") released.add(name);
    }
  }
  return [...records]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, record]) => ({
      ...record,
      isReleased: released.has(name),
      leaseModified: leases.get(name),
    }));
}

/** Sorts as the keys do: by number, without a nonce first, then by nonce. */
function formatId({ epoch, nonce }: EpochKeyParts): string {
  return `${String(epoch).padStart(8, "0")}-${nonce ?? ""}`;
}
