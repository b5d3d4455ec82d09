import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import Database from "better-sqlite3";
import type { Replication } from "wal-replicator";
import { startReplicator } from "wal-replicator/internals";
import { commitLabel, rowSchema } from "../writers/row-database.ts";

/**
 * What a life finds: an empty prefix; a timeline that was released at the position of the database here; or one whose owner died: another
 * machine, of whose volume there is a copy here.
 */
export type BeginningName = "empty" | "released" | "stale";

/** A volume and a store in some state, made once and copied into each life. */
export interface Beginning {
  /** Copies the volume. @returns the path of the database. */
  copyVolume(directory: string): void;
  copyObjects(store: ObjectStore): Promise<void>;
  /** What the database holds, in order; all of it is in the store unless that is empty. */
  readonly labels: readonly string[];
}

export class Beginnings implements AsyncDisposable {
  readonly #directories: string[] = [];
  readonly #known = new Map<BeginningName, Promise<Beginning>>();

  get(name: BeginningName): Promise<Beginning> {
    const known = this.#known.get(name) ?? this.#make(name);
    this.#known.set(name, known);
    return known;
  }

  async #make(name: BeginningName): Promise<Beginning> {
    const directory = mkdtempSync(join(tmpdir(), `beginning-${name}-`));
    this.#directories.push(directory);
    const volume = join(directory, "volume");
    const path = join(volume, "app.db");
    const source = new MemoryStore();
    const objects = new MemoryStore();
    cpSync(makeVolume(directory), volume, { recursive: true });
    const labels = ["T-1", "T-2", "T-3"];
    let replication: Replication | undefined;
    if (name !== "empty") {
      const options = { database: path, replica: "memory", syncIntervalMs: 1, Database };
      replication = await startReplicator(options, { store: source });
      const database = new Database(path);
      commitLabel(database, "T-4");
      labels.push("T-4");
      await replication.flush();
      database.close();
    }
    if (name === "released") await replication?.stop();
    const copied = join(directory, "copied");
    cpSync(volume, copied, { recursive: true, filter: (from) => !from.endsWith("-shm") });
    await copyObjects(source, objects);
    if (name === "stale") await replication?.stop();
    return {
      copyVolume: (target) => cpSync(copied, target, { recursive: true }),
      copyObjects: (store) => copyObjects(objects, store),
      labels,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }
}

function makeVolume(directory: string): string {
  const made = mkdtempSync(join(directory, "made-"));
  const database = new Database(join(made, "app.db"));
  database.pragma("page_size = 512");
  database.pragma("journal_mode = wal");
  database.exec(rowSchema);
  for (const label of ["T-1", "T-2", "T-3"]) commitLabel(database, label);
  database.close();
  return made;
}

async function copyObjects(from: ObjectStore, to: ObjectStore): Promise<void> {
  for await (const page of from.list("")) {
    for (const { key } of page) {
      const { info, body } = await from.get(key);
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      await to.put(key, Buffer.concat(chunks), {
        ...(info.metadata === undefined ? {} : { metadata: info.metadata }),
        ...(info.timestamp === undefined ? {} : { timestamp: info.timestamp }),
      });
    }
  }
}
