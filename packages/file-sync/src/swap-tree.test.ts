import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { startCrashChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TreeSwap } from "./swap-moves.ts";
import { finishSwapTrees, swapTrees } from "./swap-tree.ts";

let directory: string;
let journal: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "swap-"));
  journal = join(directory, "swap.json");
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** By path below the directory: files with their text. */
function put(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  }
}

/** All that lies there but the journal: files with their text, empty directories as `name/`. */
function look(below = ""): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(join(directory, below)).toSorted()) {
    const path = below === "" ? name : `${below}/${name}`;
    const stats = lstatSync(join(directory, path));
    if (path === "swap.json") continue;
    if (stats.isSymbolicLink()) found[path] = `-> ${readlinkSync(join(directory, path))}`;
    else if (stats.isFile()) found[path] = readFileSync(join(directory, path), "utf8");
    else if (readdirSync(join(directory, path)).length === 0) found[`${path}/`] = "";
    else Object.assign(found, look(path));
  }
  return found;
}

function swap(live: string, incoming: string | undefined, aside: string): TreeSwap {
  return {
    live: join(directory, live),
    incoming: incoming === undefined ? undefined : join(directory, incoming),
    aside: join(directory, aside),
  };
}

function run(...swaps: TreeSwap[]): Promise<void> {
  return swapTrees(swaps, { journal });
}

describe("a swap", () => {
  it("puts what came in place and keeps what was there; the other way round it is undone", async () => {
    put({
      "live/a/1": "old",
      "live/both": "old",
      "in/both": "new",
      "in/b/2": "new",
      key: "old",
      "in-key": "new",
    });
    await run(swap("live", "in", "aside"), swap("key", "in-key", "aside-key"));
    expect(look()).toEqual({
      "live/both": "new",
      "live/b/2": "new",
      "aside/a/1": "old",
      "aside/both": "old",
      key: "new",
      "aside-key": "old",
    });
    await run(swap("live", "aside", "undone"), swap("key", "aside-key", "undone-key"));
    expect(look()).toEqual({
      "live/a/1": "old",
      "live/both": "old",
      "undone/both": "new",
      "undone/b/2": "new",
      key: "old",
      "undone-key": "new",
    });
  });

  it("works where nothing is in use, and where nothing comes", async () => {
    put({ "in/a": "new", "in-key": "new", "gone/a": "old", "gone-key": "old" });
    chmodSync(join(directory, "in"), 0o750);
    await run(
      swap("live", "in", "aside"),
      swap("key", "in-key", "aside-key"),
      swap("gone", undefined, "aside-gone"),
      swap("gone-key", undefined, "aside-gone-key"),
      swap("never", undefined, "aside-never"),
    );
    expect(look()).toEqual({
      "live/a": "new",
      key: "new",
      "gone/": "",
      "aside-gone/a": "old",
      "aside-gone-key": "old",
    });
    expect(lstatSync(join(directory, "live")).mode & 0o777).toBe(0o750);
  });

  it("leaves what is to stay, and what it works with itself, in a directory that holds everything", async () => {
    put({ "data/db": "db", "data/a": "old", "data/.in/a": "new", "data/.aside/before/a": "older" });
    const keep = (name: string): boolean => name === "db";
    await run({ ...swap("data", "data/.in", "data/.aside/now"), keep });
    expect(look()).toEqual({
      "data/db": "db",
      "data/a": "new",
      "data/.aside/before/a": "older",
      "data/.aside/now/a": "old",
    });
  });

  it("follows a link that stands for the living tree", async () => {
    put({ "elsewhere/a": "old", "in/a": "new", "real-key": "old", "in-key": "new" });
    symlinkSync("elsewhere", join(directory, "live"));
    symlinkSync("real-key", join(directory, "key"));
    await run(swap("live", "in", "aside"), swap("key", "in-key", "aside-key"));
    expect(look()).toEqual({
      live: "-> elsewhere",
      "elsewhere/a": "new",
      "aside/a": "old",
      key: "-> real-key",
      "real-key": "new",
      "aside-key": "old",
    });
  });

  it("moves nothing if anything is not as it must be", async () => {
    put({
      "live/a": "old",
      "in/a": "new",
      "in/stays": "new",
      "live/stays": "old",
      taken: "taken",
      file: "file",
    });
    const keep = (name: string): boolean => name === "stays";
    const before = look();
    const refused: [TreeSwap, string][] = [
      [swap("live", "nowhere", "aside"), "nowhere"],
      [swap("file", "nowhere", "aside"), "nowhere"],
      [swap("live", "in", "taken"), "taken"],
      [swap("live", "file", "aside"), "not both directories or both files"],
      [swap("file", "in", "aside"), "not both directories or both files"],
      [{ ...swap("live", "in", "aside"), keep }, "stays"],
      [swap("live", "in", "no/such/place"), "no/such"],
      [swap("no/such/place", "in", "aside"), "no/such"],
    ];
    for (const [one, message] of refused) {
      await expect(run(swap("other", "in", "other-aside"), one)).rejects.toMatchObject({
        code: "ROOT_UNUSABLE",
        message: expect.stringContaining(message),
      });
      expect(look()).toEqual(before);
      expect(existsSync(journal)).toBe(false);
    }
  });

  it("overwrites nothing that came meanwhile, and goes on when it is gone", async () => {
    put({ "live/a": "old", "in/a": "new", "in/b": "new" });
    const at = (point: string): void => {
      if (point === "journal-in") put({ "live/a": "a stranger's" });
    };
    const swapping = swapTrees([swap("live", "in", "aside")], { journal, at });
    await expect(swapping).rejects.toMatchObject({
      code: "ROOT_UNUSABLE",
      message: expect.stringContaining("live/a"),
    });
    expect(look()).toEqual({
      "live/a": "a stranger's",
      "aside/a": "old",
      "in/a": "new",
      "in/b": "new",
    });
    await expect(run(swap("other", undefined, "other-aside"))).rejects.toThrow(
      "another swap was interrupted",
    );
    renameSync(join(directory, "live/a"), join(directory, "strange"));
    expect(await finishSwapTrees({ journal })).toBe(true);
    expect(await finishSwapTrees({ journal })).toBe(false);
    expect(look()).toEqual({
      "live/a": "new",
      "live/b": "new",
      "aside/a": "old",
      strange: "a stranger's",
    });
  });

  it("refuses a journal that it does not know", async () => {
    put({ "live/a": "old", "in/a": "new" });
    for (const text of ["", "{", '{"version":2,"phase":"out"}']) {
      writeFileSync(journal, text);
      await expect(run(swap("live", "in", "aside"))).rejects.toThrow("cannot be read");
      await expect(finishSwapTrees({ journal })).rejects.toThrow("cannot be read");
    }
    expect(look()).toEqual({ "live/a": "old", "in/a": "new" });
  });
});

describe("a swap that is killed", () => {
  const entry = new URL("swap-kill-child.ts", import.meta.url).pathname;
  it.each(["the same call", "finishSwapTrees"])(
    "at any rename is finished by %s, and nothing is lost on the way",
    async (how) => {
      const files = {
        "live/a/1": "live a",
        "live/b": "live b",
        "in/b": "in b",
        "in/c/2": "in c",
        key: "live key",
        "in-key": "in key",
        "new-in/d": "in d",
      };
      const swaps = [
        swap("live", "in", "aside"),
        swap("key", "in-key", "aside-key"),
        swap("new", "new-in", "aside-new"),
      ];
      const swapped = {
        "live/b": "in b",
        "live/c/2": "in c",
        "aside/a/1": "live a",
        "aside/b": "live b",
        key: "in key",
        "aside-key": "live key",
        "new/d": "in d",
      };
      const kill = (crashAt: string, nth: number) =>
        startCrashChild({ entry, arguments: [journal, JSON.stringify(swaps)], crashAt, nth })
          .killed;
      const points = ["journal-out", "journal-in", "journal-done"].map((at) => [at, 1] as const);
      const moves = Array.from({ length: 7 }, (_, index) => ["moved", index + 1] as const);
      for (const [point, nth] of [...points, ...moves]) {
        for (const name of readdirSync(directory)) {
          rmSync(join(directory, name), { recursive: true });
        }
        put(files);
        expect(await kill(point, nth), `${point} ${nth}`).toMatchObject({ byCrash: true });
        expect(Object.values(look()).filter(Boolean).toSorted()).toEqual(
          Object.values(files).toSorted(),
        );
        if (how === "finishSwapTrees") {
          expect(await finishSwapTrees({ journal })).toBe(point !== "journal-done");
        } else {
          await run(...swaps);
        }
        expect(look(), `${point} ${nth}`).toEqual(swapped);
      }
      expect(await kill("moved", 8)).toMatchObject({ byCrash: false, code: 0 });
    },
    300_000,
  );
});

const canMount = process.getuid?.() === 0 && process.platform === "linux";
describe.skipIf(!canMount)("mounts (need root)", () => {
  const mounts: string[] = [];
  const mount = (...args: string[]): void => {
    execFileSync("mount", args);
    mounts.unshift(args.at(-1) ?? "");
  };
  afterEach(() => {
    for (const path of mounts.splice(0)) execFileSync("umount", [path]);
  });

  it("a living tree that is one is swapped within it", async () => {
    mkdirSync(join(directory, "live"));
    mount("-t", "tmpfs", "tmpfs", join(directory, "live"));
    put({ "live/a": "old", "live/.in/b": "new" });
    await run(swap("live", "live/.in", "live/.aside"));
    expect(look()).toEqual({ "live/b": "new", "live/.aside/a": "old" });
  });

  it("in between are found before anything moves, also of the same file system, and both places are named", async () => {
    put({ "in/a": "new", "source/a": "old" });
    mkdirSync(join(directory, "live"));
    for (const args of [
      ["-t", "tmpfs", "tmpfs"],
      ["--bind", join(directory, "source")],
    ]) {
      mount(...args, join(directory, "live"));
      put({ "live/a": "old" });
      const before = look();
      await expect(run(swap("live", "in", "aside"))).rejects.toMatchObject({
        code: "ROOT_UNUSABLE",
        message: expect.stringMatching(/swap-\w+\/live .*to be moved to .*swap-\w+\)/),
      });
      expect(look()).toEqual(before);
      expect(existsSync(journal)).toBe(false);
    }
  });

  it("of a single file cannot be moved: everything else goes back to where it was", async () => {
    put({ "live/a": "old", "in/a": "new", key: "", "real-key": "old key", "in-key": "new key" });
    mount("--bind", join(directory, "real-key"), join(directory, "key"));
    const before = look();
    const swapping = run(swap("live", "in", "aside"), swap("key", "in-key", "aside-key"));
    await expect(swapping).rejects.toMatchObject({
      code: "ROOT_UNUSABLE",
      hint: expect.stringContaining("mount"),
    });
    expect(look()).toEqual(before);
    expect(existsSync(journal)).toBe(false);
  });
});
