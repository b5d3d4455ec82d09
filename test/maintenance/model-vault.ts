import { createHash } from "node:crypto";
import type { ManifestEntry } from "@vaultwarden-stream/file-sync";
import type { Prng } from "@vaultwarden-stream/testkit";
import type { Rows } from "./line.ts";
import { minute, second } from "./virtual-clock.ts";

interface PlannedChange {
  readonly atMs: number;
  readonly path: string;
  /** Undefined: it goes. */
  readonly digest: string | undefined;
}

const fileCountMax = 40;
const directory = "attachments";

/**
 * The files of a vault and the rows that name them. A row comes with a commit, and its file a little before or after it; it goes
 * likewise. Contents are small, random, and remembered for as long as the simulation runs.
 */
export class ModelVault {
  readonly #prng: Prng;
  readonly #contents: Map<string, Uint8Array>;
  #tree: Map<string, string>;
  #rows: Rows;
  #planned: PlannedChange[] = [];

  /** @param contents - by digest; shared by all machines. */
  constructor(
    prng: Prng,
    contents: Map<string, Uint8Array>,
    tree: ReadonlyMap<string, string> = new Map(),
    rows: Rows = new Map(),
  ) {
    this.#prng = prng;
    this.#contents = contents;
    this.#tree = new Map(tree);
    this.#rows = rows;
  }

  get rows(): Rows {
    return this.#rows;
  }

  /** Path → digest, as they are now. */
  get tree(): ReadonlyMap<string, string> {
    return this.#tree;
  }

  /** When the next file comes or goes; Infinity: none is planned. */
  get nextChangeMs(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#planned.map(({ atMs }) => atMs));
  }

  content(digest: string): Uint8Array {
    return this.#contents.get(digest) as Uint8Array;
  }

  /** A commit at this moment changes the rows; the files follow, or have just gone before. */
  changeRows(nowMs: number): void {
    const rows = new Map(this.#rows);
    const isFull = rows.size >= fileCountMax || (rows.size > 2 && this.#prng.chance(0.45));
    const atMs =
      nowMs + this.#prng.integer(-2 * second, this.#prng.chance(0.1) ? 3 * minute : 5 * second);
    if (isFull) {
      // Often the newest: what was there for a moment only is in few manifests.
      const paths = [...rows.keys()];
      const path = this.#prng.chance(0.5) ? (paths.at(-1) as string) : this.#prng.pick(paths);
      rows.delete(path);
      this.#planned = this.#planned.filter((change) => change.path !== path);
      this.#planned.push({ atMs, path, digest: undefined });
    } else {
      const bytes = this.#prng.bytes(this.#prng.integer(20, 60));
      const digest = createHash("sha256").update(bytes).digest("hex");
      this.#contents.set(digest, bytes);
      const path = `${directory}/${digest.slice(0, 12)}`;
      rows.set(path, digest);
      this.#planned.push({ atMs, path, digest });
    }
    this.#rows = rows;
  }

  /** Carries out what is due. @returns whether a file came or went. */
  settle(nowMs: number): boolean {
    const due = this.#planned.filter(({ atMs }) => atMs <= nowMs);
    if (due.length === 0) return false;
    this.#planned = this.#planned.filter(({ atMs }) => atMs > nowMs);
    for (const { path, digest } of due) {
      if (digest === undefined) this.#tree.delete(path);
      else this.#tree.set(path, digest);
    }
    return true;
  }

  /** As a manifest has them. */
  entries(): ManifestEntry[] {
    const files = [...this.#tree].map(([path, sha256]) => ({
      kind: "file" as const,
      path,
      mode: 0o600,
      mtimeMs: 0,
      size: this.content(sha256).length,
      sha256,
    }));
    files.sort((a, b) => (a.path < b.path ? -1 : 1));
    return [{ kind: "directory", path: directory, mode: 0o700 }, ...files];
  }
}
