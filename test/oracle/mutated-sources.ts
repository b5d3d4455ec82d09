import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** One guard removed from the engine. */
export interface Mutation {
  readonly name: string;
  /** Below packages/wal-replicator/src. */
  readonly file: string;
  /** Each text occurs exactly once in the file. */
  readonly edits: readonly { readonly find: string; readonly replace: string }[];
}

/**
 * A copy of the engine's sources with one mutation, to be run in a child process. The product needs no switches for its tests this
 * way, and what is tested is the very code that ships, less one guard.
 */
export class MutatedSources implements Disposable {
  /** The module that exports `startReplicator`. */
  readonly module: string;
  readonly #directory: string;

  constructor(mutation: Mutation) {
    const packageDirectory = fileURLToPath(
      new URL("../../packages/wal-replicator/", import.meta.url),
    );
    // Not below a node_modules directory: Node refuses to erase types there.
    this.#directory = mkdtempSync(join(tmpdir(), "mutated-engine-"));
    cpSync(join(packageDirectory, "src"), join(this.#directory, "src"), { recursive: true });
    cpSync(join(packageDirectory, "package.json"), join(this.#directory, "package.json"));
    symlinkSync(join(packageDirectory, "node_modules"), join(this.#directory, "node_modules"));
    const path = join(this.#directory, "src", mutation.file);
    let source = readFileSync(path, "utf8");
    for (const { find, replace } of mutation.edits) {
      const parts = source.split(find);
      if (parts.length !== 2) {
        this[Symbol.dispose]();
        throw new Error(
          `${mutation.name}: ${JSON.stringify(find)} occurs ${parts.length - 1} times in ${mutation.file}, not once`,
        );
      }
      source = parts.join(replace);
    }
    writeFileSync(path, source);
    this.module = join(this.#directory, "src", "replicator.ts");
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
