import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "./push-testing.ts";
import type { SyncRoot } from "./sync-root.ts";
import { watchRoots } from "./watch.ts";

async function startWatch(roots: readonly SyncRoot[], exclude: readonly string[] = []) {
  let hintCount = 0;
  const failures: unknown[] = [];
  const watch = await watchRoots({
    roots,
    exclude,
    onHint: () => {
      hintCount += 1;
    },
    onFailing: (error) => failures.push(error),
  });
  onTestFinished(() => watch.close());
  return {
    failures,
    hintCount: () => hintCount,
    /** Waits for a hint after the change. */
    heard: async (change: () => void): Promise<void> => {
      const before = hintCount;
      change();
      await expect.poll(() => hintCount, { timeout: 20_000, interval: 10 }).toBeGreaterThan(before);
    },
  };
}

function root(name: string, kind: SyncRoot["kind"], path: string): SyncRoot {
  return { name, kind, path };
}

describe("a watch hints", () => {
  test("at new, changed, renamed and removed files, in new directories too", async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, "sub"));
    const { heard, failures } = await startWatch([root("files", "directory", directory)]);
    const path = join(directory, "sub/file");
    await heard(() => writeFileSync(path, "1"));
    await heard(() => appendFileSync(path, "2"));
    await heard(() => renameSync(path, `${path}.new`));
    await heard(() => mkdirSync(join(directory, "later")));
    await expect
      .poll(
        async () => {
          // Until the new directory is watched.
          await heard(() => writeFileSync(join(directory, "later/file"), `${Math.random()}`));
          return true;
        },
        { timeout: 20_000 },
      )
      .toBe(true);
    await heard(() => rmSync(`${path}.new`));
    expect(failures).toEqual([]);
  });

  test("at a root that appears, is replaced, and goes away", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "files");
    const { heard } = await startWatch([root("files", "directory", path)]);
    await heard(() => mkdirSync(path));
    await heard(() => writeFileSync(join(path, "file"), "1"));
    await heard(() => {
      renameSync(path, `${path}.old`);
      mkdirSync(path);
    });
    await heard(() => writeFileSync(join(path, "file"), "2"));
    await heard(() => rmSync(path, { recursive: true }));
  });

  test("at a single file that appears, changes, is replaced, and goes away", async () => {
    const path = join(temporaryDirectory(), "config.json");
    const { heard } = await startWatch([root("config", "file", path)]);
    await heard(() => writeFileSync(path, "1"));
    await heard(() => writeFileSync(path, "2"));
    await heard(() => {
      writeFileSync(`${path}.new`, "3");
      renameSync(`${path}.new`, path);
    });
    await heard(() => rmSync(path));
  });

  test("not at what is excluded, nor at a database beside a missing root", async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, "files/state"), { recursive: true });
    const { heard, hintCount } = await startWatch(
      [
        root("files", "directory", join(directory, "files")),
        root("sends", "directory", join(directory, "sends")),
        root("config", "file", join(directory, "config.json")),
      ],
      [join(directory, "files/state")],
    );
    const before = hintCount();
    for (let count = 0; count < 50; count += 1) {
      appendFileSync(join(directory, "db.sqlite3-wal"), "frame");
      appendFileSync(join(directory, "files/state/cache"), "line");
      await new Promise((resolve) => setImmediate(resolve));
    }
    // What these would have caused comes before this.
    await heard(() => writeFileSync(join(directory, "files/file"), "1"));
    expect(hintCount() - before).toBeLessThanOrEqual(4);
  });
});

// The limit is of a user namespace, so it can be set for one child alone, where such a namespace may be made.
const inNamespace = [
  "-Ur",
  "sh",
  "-c",
  'echo 3 > /proc/sys/user/max_inotify_watches && "$@"',
  "sh",
];
const canLimit = spawnSync("unshare", [...inNamespace, "true"]).status === 0;

test.skipIf(!canLimit)("a limit of the system is said once, and no hint is the worst of it", () => {
  const directory = temporaryDirectory();
  for (let count = 0; count < 8; count += 1) mkdirSync(join(directory, `${count}`));
  const entry = new URL("watch.limit-child.ts", import.meta.url).pathname;
  const node = [process.execPath, "--conditions=@vaultwarden-stream/source", entry, directory];
  expect(execFileSync("unshare", [...inNamespace, ...node]).toString()).toBe('["ENOSPC"]');
});
