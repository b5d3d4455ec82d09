import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CountingStore,
  FaultyStore,
  MemoryStore,
  ObjectStoreError,
} from "@vaultwarden-stream/object-store";
import { startTypeScriptChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { blobKey } from "./blob-key.ts";
import { buildTree } from "./build-tree.ts";
import type { ManifestEntry } from "./manifest.ts";
import { planPull } from "./plan-pull.ts";
import { type PullOptions, previewPull, pullTree } from "./pull.ts";
import {
  digest,
  directoryRoot,
  entriesOf,
  putBlobs,
  readTree,
  type TestNode,
  writeTree,
} from "./test-tree.ts";

let directory: string;
let store: CountingStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pull-"));
  store = new CountingStore(new MemoryStore());
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const file = (text: string, mode = 0o600): TestNode => ({
  mode,
  mtimeMs: 1_000,
  content: bytes(text),
});
const folder: TestNode = { mode: 0o755 };

function tree(nodes: Readonly<Record<string, TestNode>>): Map<string, TestNode> {
  return new Map(Object.entries({ r: folder, ...nodes }));
}

/** One root `r`, built at `building`, living at `live`. */
function options(entries: readonly ManifestEntry[], more: Partial<PullOptions> = {}): PullOptions {
  return {
    store,
    entries,
    roots: [directoryRoot("r", join(directory, "live"))],
    building: () => join(directory, "building"),
    ...more,
  };
}

function fileEntry(path: string, text = "x"): ManifestEntry {
  const content = bytes(text);
  return {
    kind: "file",
    path,
    mode: 0o600,
    mtimeMs: 0,
    size: content.length,
    sha256: digest(content),
  };
}

describe("a blob that cannot be used", () => {
  it("is named with each of its files, and everything else is there", async () => {
    const wanted = tree({
      "r/good": file("good"),
      "r/missing": file("missing"),
      "r/missing too": file("missing"),
      "r/other bytes": file("12345"),
      "r/short": file("short"),
    });
    await putBlobs(store, wanted);
    await store.delete(blobKey(digest(bytes("missing"))));
    await store.put(blobKey(digest(bytes("12345"))), bytes("54321"));
    await store.put(blobKey(digest(bytes("short"))), bytes("shor"));

    const result = await pullTree(options(entriesOf(wanted)));

    const bad = (path: string, why: string) => ({
      path,
      kind: "file",
      code: "BLOB_BAD",
      why: expect.stringContaining(why),
    });
    expect(result.bad).toEqual([
      bad("r/missing", "not in the store"),
      bad("r/missing too", "not in the store"),
      bad("r/other bytes", "another SHA-256"),
      bad("r/short", "4 bytes instead of 5"),
    ]);
    expect(result).toMatchObject({ fetched: 1 });
    expect(readdirSync(join(directory, "building"))).toEqual(["good"]);
  });

  it("is not called bad for a body that once came over garbled", async () => {
    const wanted = tree({ "r/a": file("some bytes") });
    await putBlobs(store, wanted);
    const garbling = new FaultyStore(store, ({ nth }) =>
      nth === 1 ? { kind: "garble-body", atByte: 3 } : undefined,
    );
    expect(await pullTree(options(entriesOf(wanted), { store: garbling }))).toMatchObject({
      bad: [],
    });
    expect(readTree("r", join(directory, "building"))).toEqual(entriesOf(wanted));
  });

  it("is never concluded from a store that fails: the pull fails with its error", async () => {
    const wanted = tree({ "r/a": file("a"), "r/b": file("b") });
    await putBlobs(store, wanted);
    for (const code of ["FORBIDDEN", "UNREACHABLE", "THROTTLED", "STORE_FAILED"] as const) {
      const failing = new FaultyStore(store, () => ({ kind: "error-before", code }));
      const pulling = pullTree(options(entriesOf(wanted), { store: failing }));
      await expect(pulling).rejects.toSatisfy(
        (error) => error instanceof ObjectStoreError && error.code === code,
      );
    }
  });
});

describe("entries that are no tree inside of the roots", () => {
  const cases: [string, ManifestEntry[], string][] = [
    ["a path that climbs", [fileEntry("r/../../x")], "r/../../x"],
    ["an absolute path", [fileEntry("/etc/passwd")], '""'],
    ["a zero byte", [fileEntry("r/a\0")], "r/a"],
    ["half a character", [fileEntry("r/\udc00")], "surrogate"],
    [
      "roots that are not here",
      [fileEntry("elsewhere/a"), fileEntry("third")],
      '"elsewhere", "third"',
    ],
    ["a file that holds another", [fileEntry("r/a"), fileEntry("r/a/b/c")], '"r/a" is a file'],
    [
      "one path twice",
      [fileEntry("r/a"), { kind: "directory", path: "r/a", mode: 0o755 }],
      "twice",
    ],
    ["a file for a directory's root", [fileEntry("r")], "its root is a directory"],
  ];
  it.each(cases)("are refused before anything is written: %s", async (_, entries, message) => {
    const roots = ["r", "s"].map((name) => directoryRoot(name, join(directory, "live", name)));
    const building = ({ name }: { readonly name: string }): string => join(directory, name);
    const pulling = pullTree({
      store,
      entries: [fileEntry("s/harmless"), ...entries],
      roots,
      building,
    });
    await expect(pulling).rejects.toMatchObject({
      code: "PATH_UNSAFE",
      message: expect.stringContaining(message),
    });
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe("what lies where a tree is built", () => {
  it("is never followed: links are replaced, and what they point to is untouched", async () => {
    const wanted = tree({ "r/dir": folder, "r/dir/file": file("new"), "r/link": file("new") });
    await putBlobs(store, wanted);
    const outside = join(directory, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "file"), "old");
    const building = join(directory, "building");
    mkdirSync(building);
    symlinkSync(outside, join(building, "dir"));
    symlinkSync(join(outside, "file"), join(building, "link"));
    symlinkSync(outside, join(building, "unwanted"));

    expect(await pullTree(options(entriesOf(wanted)))).toMatchObject({ bad: [] });
    expect(readTree("r", building)).toEqual(entriesOf(wanted));
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("old");

    rmSync(building, { recursive: true });
    symlinkSync(outside, building);
    expect(await pullTree(options(entriesOf(wanted)))).toMatchObject({ bad: [] });
    expect(lstatSync(building).isDirectory()).toBe(true);
    expect(readdirSync(outside)).toEqual(["file"]);
  });

  it("is never followed if a link comes while the tree is being built", async () => {
    const wanted = tree({ "r/dir": folder, "r/dir/file": file("new") });
    await putBlobs(store, wanted);
    const outside = join(directory, "outside");
    mkdirSync(outside);
    const at = (point: string): void => {
      if (point !== "directories-made") return;
      rmSync(join(directory, "building/dir"), { recursive: true });
      symlinkSync(outside, join(directory, "building/dir"));
    };
    await expect(pullTree(options(entriesOf(wanted), { at }))).rejects.toMatchObject({
      code: "PATH_UNSAFE",
      message: expect.stringContaining(outside),
    });
    expect(readdirSync(outside)).toEqual([]);
  });

  it("is kept if it has the right bytes, and only then", async () => {
    const wanted = tree({
      "r/whole": file("whole"),
      "r/half": file("0123456789"),
      "r/wrong": file("right"),
    });
    await putBlobs(store, wanted);
    const building = join(directory, "building");
    writeTree(
      building,
      tree({ "r/whole": file("whole"), "r/half": file("01234"), "r/wrong": file("wrong") }),
    );
    expect(await pullTree(options(entriesOf(wanted)))).toMatchObject({
      kept: 1,
      fetched: 2,
      bad: [],
    });
    expect(readTree("r", building)).toEqual(entriesOf(wanted));
  });

  it("must not be the living tree, nor hold it", async () => {
    const entries = entriesOf(tree({}));
    writeTree(join(directory, "live"), tree({ "r/precious": file("precious") }));
    symlinkSync(directory, join(directory, "link"));
    for (const place of ["live", ".", "link", "link/live"]) {
      const pulling = pullTree(options(entries, { building: () => join(directory, place) }));
      await expect(pulling).rejects.toMatchObject({ code: "ROOT_UNUSABLE" });
    }
    expect(readFileSync(join(directory, "live/precious"), "utf8")).toBe("precious");
  });

  it("can be full of directories that let their owner neither in nor write, and so can what is swapped in", async () => {
    const entry = new URL("closed-tree-child.ts", import.meta.url).pathname;
    chmodSync(directory, 0o777);
    const child = startTypeScriptChild(entry, { arguments: [join(directory, "place")] });
    expect(await child.exited).toMatchObject({ code: 0, stdout: "same\nsame\nsame\n" });
  });
});

describe("names that a file system cannot have", () => {
  it("are named, with all that is below them, and everything else is there", async () => {
    const long = "x".repeat(256);
    const wanted = tree({
      "r/good": file("good"),
      [`r/${long}`]: file("in a long name"),
      [`r/dir-${long}`]: folder,
      [`r/dir-${long}/below`]: folder,
      [`r/dir-${long}/below/file`]: file("far below"),
    });
    await putBlobs(store, wanted);
    const result = await pullTree(options(entriesOf(wanted)));
    expect(result.bad.map(({ path, code }) => [path.replaceAll(/x+/g, "x"), code])).toEqual([
      ["r/dir-x", "PATH_UNSAFE"],
      ["r/dir-x/below", "PATH_UNSAFE"],
      ["r/dir-x/below/file", "PATH_UNSAFE"],
      ["r/x", "PATH_UNSAFE"],
    ]);
    expect(readdirSync(join(directory, "building"))).toEqual(["good"]);
    expect(store.counts.get).toBe(1);
  });

  /** On a file system without case the second of two names finds the first. Here something else is there already, which to the code is the same. */
  it("are named if they are there under another's name, and the other is left as it is", async () => {
    const entries = entriesOf(
      tree({ "r/dir": folder, "r/dir/file": file("file"), "r/name": file("second") }),
    );
    const roots = [directoryRoot("r", join(directory, "live"))];
    const plan = planPull(entries, roots, { building: new Map(), live: new Map() });
    const building = join(directory, "building");
    const at = (point: string): void => {
      if (point !== "removed") return;
      mkdirSync(building);
      mkdirSync(join(building, "dir"));
      writeFileSync(join(building, "name"), "first");
    };
    const unplanned = { ...plan, makeDirectories: plan.makeDirectories.slice(1) };
    const places = [{ name: "r", building, live: undefined }];
    const outcome = await buildTree(unplanned, { store, places, parallel: 1, at });
    expect(outcome.bad.map(({ path }) => path)).toEqual(["r/dir", "r/dir/file", "r/name"]);
    expect(outcome.bad[0]?.why).toContain("takes its name for that of another");
    expect(readFileSync(join(building, "name"), "utf8")).toBe("first");
  });
});

describe("a living copy", () => {
  it("saves the fetch where its bytes are the same, and is never linked to", async () => {
    const wanted = tree({
      "r/same": file("same"),
      "r/twin": file("same"),
      "r/changed": file("new!"),
    });
    await putBlobs(store, wanted);
    const live = join(directory, "live");
    writeTree(
      live,
      tree({ "r/same": file("same"), "r/changed": file("old!"), "r/extra": file("extra") }),
    );
    const pull = options(entriesOf(wanted), { reuse: () => live });
    expect(await previewPull(pull)).toMatchObject({ fetchBytes: 4, copyBytes: 8, keepBytes: 0 });
    expect(existsSync(join(directory, "building"))).toBe(false);

    expect(await pullTree(pull)).toMatchObject({ copied: 2, fetched: 1, fetchedBytes: 4, bad: [] });
    expect(readTree("r", join(directory, "building"))).toEqual(entriesOf(wanted));
    writeFileSync(join(live, "same"), "SAME");
    expect(readFileSync(join(directory, "building/same"), "utf8")).toBe("same");
    expect(readFileSync(join(live, "extra"), "utf8")).toBe("extra");
  });

  it("that changes between the look and the copy is fetched after all", async () => {
    const wanted = tree({ "r/a": file("good") });
    await putBlobs(store, wanted);
    const live = join(directory, "live");
    for (const change of [
      () => writeFileSync(join(live, "a"), "evil"),
      () => writeFileSync(join(live, "a"), "good and longer"),
      () => rmSync(join(live, "a")),
      // Found out by the copy when it has begun, which removes its target then.
      () => {
        rmSync(join(live, "a"));
        mkdirSync(join(live, "a"));
      },
    ]) {
      rmSync(join(directory, "building"), { recursive: true, force: true });
      rmSync(live, { recursive: true, force: true });
      writeTree(live, wanted);
      const at = (point: string): void => {
        if (point === "directories-made") change();
      };
      const result = await pullTree(options(entriesOf(wanted), { reuse: () => live, at }));
      expect(result).toMatchObject({ copied: 0, fetched: 1, bad: [] });
      expect(readTree("r", join(directory, "building"))).toEqual(entriesOf(wanted));
    }
  });
});

describe("a pull", () => {
  it("fetches bytes once, however many names they have", async () => {
    const wanted = tree({ "r/a": file("twin"), "r/b": file("twin", 0o644), "r/c": file("twin") });
    await putBlobs(store, wanted);
    expect(await pullTree(options(entriesOf(wanted)))).toMatchObject({ fetched: 1, copied: 2 });
    expect(store.counts.get).toBe(1);
    expect(statSync(join(directory, "building/a")).nlink).toBe(1);
  });

  it("of a part makes the directories that it needs, and of a file the file", async () => {
    const wanted = tree({ "r/dir/deep/file": file("part") });
    wanted.delete("r");
    await putBlobs(store, wanted);
    await store.put(blobKey(digest(bytes("key"))), bytes("key"));
    const roots = [
      directoryRoot("r", join(directory, "live")),
      { name: "key.pem", kind: "file", path: join(directory, "key.pem") },
      directoryRoot("unused", join(directory, "unused")),
    ] as const;
    // Where nothing is to be built there need not even be a place to build.
    const building = ({ name }: { readonly name: string }): string =>
      name === "unused" ? join(directory, "absent/unused") : join(directory, `building-${name}`);
    const entries = [...entriesOf(wanted), fileEntry("key.pem", "key")];
    expect(await pullTree({ store, entries, roots, building })).toMatchObject({
      fetched: 2,
      bad: [],
    });
    expect(readFileSync(join(directory, "building-r/dir/deep/file"), "utf8")).toBe("part");
    expect(readFileSync(join(directory, "building-key.pem"), "utf8")).toBe("key");
  });

  it("sets no set-user-ID, as whose file it was is not known", async () => {
    const wanted = tree({ "r/tool": file("#!", 0o6755) });
    await putBlobs(store, wanted);
    await pullTree(options(entriesOf(wanted)));
    expect(statSync(join(directory, "building/tool")).mode & 0o7777).toBe(0o755);
  });

  it("ends with the reason of its signal", async () => {
    const wanted = tree({ "r/a": file("a") });
    await putBlobs(store, wanted);
    const aborting = new AbortController();
    const stalling = new FaultyStore(store, () => ({ kind: "stall" }));
    const pulling = pullTree(
      options(entriesOf(wanted), { store: stalling, signal: aborting.signal }),
    );
    const reason = new Error("enough");
    aborting.abort(reason);
    await expect(pulling).rejects.toBe(reason);
  });

  it("counts up to everything", async () => {
    const wanted = tree({
      "r/a": file("aaaa"),
      "r/b": file("aaaa"),
      "r/c": file("c"),
      "r/e": file(""),
    });
    await putBlobs(store, wanted);
    const seen: unknown[] = [];
    await pullTree(options(entriesOf(wanted), { onProgress: (progress) => seen.push(progress) }));
    expect(seen[0]).toEqual({ files: 0, filesTotal: 4, bytes: 0, bytesTotal: 9 });
    expect(seen.at(-1)).toEqual({ files: 4, filesTotal: 4, bytes: 9, bytesTotal: 9 });
  });
});

const isRoot = process.getuid?.() === 0;
describe.skipIf(!isRoot || process.platform !== "linux")(
  "a full disk (needs root, for a tmpfs)",
  () => {
    it("ends the pull with what to do, and the next one goes on", async () => {
      const mount = join(directory, "mount");
      mkdirSync(mount);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", mount]);
      try {
        const big = { ...folder, content: new Uint8Array(900_000).fill(1), mtimeMs: 0 };
        const wanted = tree({
          "r/a": big,
          "r/b": { ...big, content: new Uint8Array(900_000).fill(2) },
        });
        await putBlobs(store, wanted);
        const pull = options(entriesOf(wanted), {
          building: () => join(mount, "building"),
          parallel: 1,
        });
        await expect(pullTree(pull)).rejects.toMatchObject({
          code: "ROOT_UNUSABLE",
          hint: expect.stringContaining("Make room"),
        });
        execFileSync("mount", ["-o", "remount,size=4m", mount]);
        expect(await pullTree(pull)).toMatchObject({ kept: 1, fetched: 1, bad: [] });
        expect(readTree("r", join(mount, "building"))).toEqual(entriesOf(wanted));
      } finally {
        execFileSync("umount", [mount]);
      }
    });
  },
);
