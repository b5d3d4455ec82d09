import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const outputBytesMax = 1 << 20;

/**
 * Runs SQLite's `integrity_check` over a database in use, in a process of its own. While it reads, the WAL cannot be restarted.
 *
 * @returns its first complaints; undefined if all is well.
 * @throws if it could not look, which says nothing about the database; the signal's reason if it is aborted.
 */
export async function checkSource(
  path: string,
  signal: AbortSignal,
  entryPath: string | undefined = ownEntryPath(),
): Promise<string | undefined> {
  if (entryPath === undefined || !existsSync(entryPath)) {
    throw new Error(
      "the entry of its process (check-source-main) is not there: a bundler has left it out",
    );
  }
  // Nothing of the host's own flags (an inspector's port, an eval) is meant for it.
  const flags = entryPath.endsWith(".ts") ? ["--conditions=@vaultwarden-stream/source"] : [];
  const options = { signal, maxBuffer: outputBytesMax, env: ownEnvironment() };
  const { stdout } = await run(process.execPath, [...flags, entryPath, path], options).catch(
    (error: unknown) => {
      signal.throwIfAborted();
      throw error;
    },
  );
  const answer = JSON.parse(stdout) as { complaint: string | null } | { failure: string };
  if ("failure" in answer) throw new Error(answer.failure);
  return answer.complaint ?? undefined;
}

/** None of the host's secrets, and none of its `NODE_OPTIONS`. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const { PATH, LD_LIBRARY_PATH, TMPDIR } = process.env;
  return { PATH, LD_LIBRARY_PATH, TMPDIR };
}

/** Beside this file, with its extension: `.ts` from sources, `.mjs` built. A bundle of CommonJS does not know where it is. */
function ownEntryPath(): string | undefined {
  const here = import.meta.url as string | undefined;
  if (here === undefined) return undefined;
  const extension = here.endsWith(".ts") ? ".ts" : ".mjs";
  return fileURLToPath(new URL(`./check-source-main${extension}`, here));
}
