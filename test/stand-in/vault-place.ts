/** A directory with stand-ins in it, all of it gone afterwards. */
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type StandIn, startStandIn, type VaultAccount } from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";

export const fixture: string = fileURLToPath(
  new URL("../fixtures/vaultwarden-data", import.meta.url),
);

export class VaultPlace implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "stand-in-"));
  readonly dataFolder: string = join(this.directory, "data");
  readonly #running: StandIn[] = [];

  async start(env: Readonly<Record<string, string>> = {}): Promise<StandIn> {
    const standIn = await startStandIn({
      env: { DATA_FOLDER: this.dataFolder, ROCKET_PORT: "0", ...env },
      cwd: this.directory,
    });
    this.#running.push(standIn);
    return standIn;
  }

  account({ url }: StandIn): VaultAccount {
    return { url, email: "user@example.com", password: "correct horse" };
  }

  /** The recorded data directory of a real server, as the vault of this place. */
  copyFixture(): void {
    cpSync(join(fixture, "data"), this.dataFolder, { recursive: true });
  }

  path(...names: readonly string[]): string {
    return join(this.dataFolder, ...names);
  }

  /** Names of all files below a folder of the vault, none for a folder that is not there. */
  files(folder: string): string[] {
    try {
      return readdirSync(this.path(folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => entry.name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      return [];
    }
  }

  query<Row>(sql: string, ...values: readonly string[]): Row[] {
    return queryDatabase(this.path("db.sqlite3"), sql, ...values);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const standIn of this.#running) standIn.kill("SIGKILL");
    await Promise.all(this.#running.map(({ exited }) => exited));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function queryDatabase<Row>(path: string, sql: string, ...values: readonly string[]): Row[] {
  const database = new Database(path, { fileMustExist: true, timeout: 10_000 });
  try {
    const statement = database.prepare<unknown[], Row>(sql);
    if (statement.reader) return statement.all(...values);
    statement.run(...values);
    return [];
  } finally {
    database.close();
  }
}
