/** The calls of a vault workload, each recorded before and after, and the objects that they can still be made on. */
import type { Prng } from "./prng.ts";
import type { StoredKind, VaultClient } from "./vault-client.ts";
import type { SealedContent } from "./vault-request.ts";
import { expectationsAt, type VaultRecord, type VaultRecordLog } from "./vault-workload-records.ts";

type Subject = Pick<VaultRecord, "kind" | "id" | "itemId">;

const weights = {
  createItem: 5,
  changeItem: 4,
  deleteItem: 1,
  uploadAttachment: 4,
  replaceAttachment: 2,
  deleteAttachment: 1,
  createTextSend: 2,
  createFileSend: 3,
  deleteSend: 1,
  refresh: 1,
} as const;

export class VaultOperations {
  readonly #client: VaultClient;
  readonly #prng: Prng;
  readonly #log: VaultRecordLog;
  readonly #fileBytesMax: number;
  /** Whose state is settled. What a refused call was about is never touched again: nobody knows how it is. */
  readonly #settled = new Map<string, Subject>();
  #count = 0;

  constructor(client: VaultClient, prng: Prng, log: VaultRecordLog, fileBytesMax: number) {
    this.#client = client;
    this.#prng = prng;
    this.#log = log;
    this.#fileBytesMax = fileBytesMax;
  }

  /** How many calls were acknowledged. */
  get count(): number {
    return this.#count;
  }

  /**
   * Takes the vault as it is: writes down what differs from what was known, which a restore to an earlier moment and a call without an
   * answer bring about. What is checked against older records is to be checked before.
   */
  async adopt(): Promise<void> {
    const known = expectationsAt(this.#log.records, Number.POSITIVE_INFINITY);
    for (const { content, ...subject } of await this.#client.readStored()) {
      const before = known.get(subject.id);
      known.delete(subject.id);
      const isAsKnown =
        before?.possible.length === 1 &&
        before.settled.state === "stored" &&
        before.settled.sha256 === content?.sha256;
      if (!isAsKnown) this.#record("found", subject, "stored", content);
      this.#settled.set(subject.id, subject);
    }
    for (const { settled, possible } of known.values()) {
      if (possible.length === 1 && settled.state === "deleted") continue;
      this.#record("found", settled, "deleted");
    }
  }

  /** One operation, by chance. @throws {VaultClientError} if the server refuses it, or whatever `fetch` throws if it is gone. */
  async next(): Promise<void> {
    const kind = this.#prng.pickWeighted(weights);
    await this[kind]();
  }

  async createItem(): Promise<void> {
    const { item, seal, content } = this.#newItem();
    const id = await this.#client.createItem(item, seal);
    this.#settle({ kind: "item", id }, "stored", content());
  }

  async changeItem(): Promise<void> {
    const subject = this.#pick("item");
    if (subject === undefined) return this.createItem();
    const { item, seal, content } = this.#newItem(subject);
    await this.#client.updateItem(subject.id, item, seal);
    this.#settle(subject, "stored", content());
  }

  async deleteItem(): Promise<void> {
    const subject = this.#pick("item");
    if (subject === undefined) return this.createItem();
    const all = [subject, ...[...this.#settled.values()].filter((it) => it.itemId === subject.id)];
    for (const it of all) this.#begin(it, "deleted");
    await this.#client.deleteItem(subject.id);
    for (const it of all) this.#settle(it, "deleted");
  }

  async uploadAttachment(): Promise<void> {
    const item = this.#pick("item");
    if (item === undefined) return this.createItem();
    const { seal, content } = observe();
    const id = await this.#client.uploadAttachment(item.id, "file", this.#bytes(), seal);
    this.#settle({ kind: "attachment", id, itemId: item.id }, "stored", content());
  }

  async replaceAttachment(): Promise<void> {
    const subject = this.#pick("attachment");
    if (subject?.itemId === undefined) return this.uploadAttachment();
    const { seal, content } = observe((sealed) => this.#begin(subject, "stored", sealed));
    await this.#client.replaceAttachment(subject.itemId, subject.id, this.#bytes(), seal);
    this.#settle(subject, "stored", content());
  }

  async deleteAttachment(): Promise<void> {
    const subject = this.#pick("attachment");
    if (subject?.itemId === undefined) return this.uploadAttachment();
    this.#begin(subject, "deleted");
    await this.#client.deleteAttachment(subject.itemId, subject.id);
    this.#settle(subject, "deleted");
  }

  async createTextSend(): Promise<void> {
    const { seal, content } = observe();
    const id = await this.#client.createSend("send", "text", { onSealed: seal });
    this.#settle({ kind: "text-send", id }, "stored", content());
  }

  async createFileSend(): Promise<void> {
    const { seal, content } = observe();
    const id = await this.#client.createFileSend("send", "file", this.#bytes(), { onSealed: seal });
    this.#settle({ kind: "file-send", id }, "stored", content());
  }

  async deleteSend(): Promise<void> {
    const subject = this.#pick("text-send", "file-send");
    if (subject === undefined) return this.createFileSend();
    this.#begin(subject, "deleted");
    await this.#client.deleteSend(subject.id);
    this.#settle(subject, "deleted");
  }

  async refresh(): Promise<void> {
    await this.#client.refresh();
  }

  #newItem(subject?: Subject) {
    const name = `item ${this.#prng.integer(0, 2 ** 31)}`;
    const notes = "n".repeat(this.#prng.integer(0, 1000));
    const observed = observe((sealed) => {
      if (subject !== undefined) this.#begin(subject, "stored", sealed);
    });
    return { item: { name, notes }, ...observed };
  }

  /** Empty now and then, as files of users are. */
  #bytes(): Uint8Array {
    const size = this.#prng.chance(0.1) ? 0 : this.#prng.integer(1, this.#fileBytesMax);
    return this.#prng.bytes(size);
  }

  #pick(...kinds: readonly StoredKind[]): Subject | undefined {
    const subjects = [...this.#settled.values()].filter(({ kind }) => kinds.includes(kind));
    return subjects.length === 0 ? undefined : this.#prng.pick(subjects);
  }

  #begin(subject: Subject, state: VaultRecord["state"], content?: SealedContent): void {
    this.#settled.delete(subject.id);
    this.#record("begun", subject, state, content);
  }

  #settle(subject: Subject, state: VaultRecord["state"], content?: SealedContent): void {
    if (state === "stored") this.#settled.set(subject.id, subject);
    this.#record("acknowledged", subject, state, content);
    this.#count += 1;
  }

  #record(
    phase: VaultRecord["phase"],
    { kind, id, itemId }: Subject,
    state: VaultRecord["state"],
    content?: SealedContent,
  ): void {
    const subject = itemId === undefined ? { kind, id } : { kind, id, itemId };
    this.#log.append({ at: Date.now(), phase, ...subject, state, ...content });
  }
}

/** What a call seals: the client calls `seal` before it sends anything, `content` is for afterwards. */
function observe(onSealed?: (content: SealedContent) => void) {
  let sealed: SealedContent | undefined;
  return {
    seal: (content: SealedContent) => {
      sealed = content;
      onSealed?.(content);
    },
    content: () => sealed,
  };
}
