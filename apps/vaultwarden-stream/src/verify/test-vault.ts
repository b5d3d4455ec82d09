/** For tests: a vault whose database was streamed, and whose files were pushed, into a directory that is a store. All of it by the real parts. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Manifest, openFilePusher, readManifest } from "@vaultwarden-stream/file-sync";
import { openObjectStore } from "@vaultwarden-stream/object-store";
import Database from "better-sqlite3";
import { formatTxid, type Replication, replicate } from "wal-replicator";
import { timelinesUnder } from "../daemon/vault-store.ts";
import { vaultPathsIn, vaultRoots } from "../files/vault-roots.ts";

export const includeAll = { attachments: true, sends: true, config: true, iconCache: false };

/** Contents of the attachments, by their ids. */
export type Attachments = Readonly<Record<string, string>>;

export class TestVault {
  readonly store: string;
  readonly data: string;
  readonly database: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly #db: Database.Database;
  #replication: Replication | undefined;
  #pushed: Manifest | undefined;
  timeline = "";
  txid = "";

  constructor(directory: string) {
    this.store = join(directory, "store");
    this.data = join(directory, "data");
    this.database = join(this.data, "db.sqlite3");
    this.environment = { STORE_DIR: this.store, DATA_FOLDER: this.data };
    mkdirSync(this.store);
    mkdirSync(join(this.data, "attachments", "cipher"), { recursive: true });
    writeFileSync(join(this.data, "rsa_key.pem"), "a key");
    this.#db = new Database(this.database);
    this.#db.pragma("journal_mode = WAL");
    this.#db.exec("CREATE TABLE attachments (id TEXT, cipher_uuid TEXT, file_size INTEGER)");
  }

  async start(): Promise<void> {
    this.#replication = await replicate({
      database: this.database,
      replica: this.store,
      timelinesUnder,
      home: "in-process",
      Database,
    });
    await this.flush();
  }

  get replication(): Replication {
    return this.#replication as Replication;
  }

  async flush(): Promise<void> {
    const { timeline, txid } = await this.replication.flush();
    this.timeline = timeline;
    this.txid = formatTxid(txid);
  }

  /** A row alone, as before an upload. */
  name(id: string, size: number): void {
    this.#db.prepare("INSERT INTO attachments VALUES (?, 'cipher', ?)").run(id, size);
  }

  /** A row and a file for each, stored as one state of the files. */
  async attach(attachments: Attachments): Promise<void> {
    for (const [id, content] of Object.entries(attachments)) {
      this.name(id, content.length);
      writeFileSync(this.fileOf(id), content);
    }
    await this.flush();
    await this.push();
  }

  async push(): Promise<void> {
    const base = this.#pushed;
    const pusher = await openFilePusher({
      store: openObjectStore(this.store),
      roots: vaultRoots(vaultPathsIn(this.data), includeAll),
      stateDirectory: join(this.data, "state"),
      base,
      judge: async (changes) => changes.map(() => "complete"),
      now: () => new Date(),
      nowMs: () => performance.now(),
      sleep: async () => {},
      settleMs: 1,
      onEvent: () => {},
    });
    const place = { timeline: this.timeline, epoch: 1, txid: this.txid };
    const { manifest } = await pusher.push({ place: () => place, final: true });
    await pusher.close();
    if (manifest !== undefined) {
      this.#pushed = await readManifest(openObjectStore(this.store), manifest);
    }
  }

  fileOf(id: string): string {
    return join(this.data, "attachments", "cipher", id);
  }

  /** A commit of its own. */
  async commit(text: string): Promise<void> {
    this.#db.exec("CREATE TABLE IF NOT EXISTS notes (text)");
    this.#db.prepare("INSERT INTO notes VALUES (?)").run(text);
    await this.flush();
  }

  /** Released cleanly; the vault is over. */
  async stop(): Promise<void> {
    this.#db.close();
    await this.#replication?.stop({ applicationEnded: true });
    this.#replication = undefined;
  }

  /** As if the machine were gone: another one has the store alone. */
  removeData(): void {
    rmSync(this.data, { recursive: true, force: true });
  }
}
