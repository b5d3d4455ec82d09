import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FaultyStore, type ObjectStore, ObjectStoreError } from "@vaultwarden-stream/object-store";
import { describe, expect, test } from "vitest";
import type { Change, Judge } from "./judge.ts";
import { listManifests, readManifest } from "./manifests.ts";
import {
  checkStore,
  firstPlace,
  makePushRig,
  newestManifest,
  pathsOf,
  readBlob,
} from "./push-testing.ts";
import { digest, readTree } from "./test-tree.ts";

/** Requests of all kinds. */
function requestCount(counts: object): number {
  return Object.entries(counts).reduce(
    (sum, [name, count]) => (name.startsWith("bytes") ? sum : sum + (count as number)),
    0,
  );
}

function write(files: string, contents: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(contents)) {
    mkdirSync(join(files, name, ".."), { recursive: true });
    writeFileSync(join(files, name), content);
  }
}

describe("a push", () => {
  test("stores what is there, and the manifest says just that", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first", "sub/b": "second", "sub/empty": "" });
    mkdirSync(join(rig.files, "nothing"), { mode: 0o700 });
    const pusher = await rig.open();
    await rig.push(pusher);
    const manifest = await rig.newest();
    expect(manifest?.entries).toEqual(readTree("files", rig.files));
    expect(manifest).toMatchObject({ ...firstPlace, sequence: 1 });
    await checkStore(rig.memory);
    expect(pusher.status()).toMatchObject({ files: 3, bytes: 11, notes: [], failure: undefined });
    expect(pusher.status().backlogSince).toBeUndefined();
    expect(rig.events).toEqual([expect.objectContaining({ type: "pushed", added: 3, blobs: 3 })]);
  });

  test("of an unchanged tree makes no request, also after a restart, and after one without the cache", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first", "sub/b": "second" });
    const pusher = await rig.open();
    await rig.push(pusher);
    const before = requestCount(rig.counts());
    rig.advance(10_000);
    for (let look = 0; look < 3; look += 1) await rig.push(pusher);
    await pusher.close();
    await rig.push(await rig.open());
    rmSync(join(rig.directory, "state"), { recursive: true });
    await rig.push(await rig.open());
    // Another epoch of the same timeline.
    rig.place = { ...rig.place, epoch: 2, txid: "0000000000000009" };
    await rig.push(await rig.open());
    expect(requestCount(rig.counts())).toBe(before);
  });

  test("after a restart reads no file that is as it was", async (context) => {
    const rig = makePushRig();
    const path = join(rig.files, "a");
    const accessedNs = () => statSync(path, { bigint: true }).atimeNs;
    write(rig.files, { a: "first" });
    // With a change in the future every read shows in the access time, where a mount keeps one at all (relatime).
    utimesSync(path, 1, 4_000_000_000);
    readFileSync(path);
    if (accessedNs() === 1_000_000_000n) context.skip("this file system keeps no access times");
    rig.advance(10_000);
    await rig.push(await rig.open());
    const before = accessedNs();
    await rig.push(await rig.open());
    expect(accessedNs()).toBe(before);
    rmSync(join(rig.directory, "state"), { recursive: true });
    await rig.push(await rig.open());
    expect(accessedNs()).toBeGreaterThan(before);
  });

  test("of one new file is exactly three PUTs: blob, manifest, pointer", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    const pusher = await rig.open();
    await rig.push(pusher);
    rig.takePutCount();
    const before = requestCount(rig.counts());
    write(rig.files, { b: "second" });
    await rig.push(pusher);
    expect(rig.takePutCount()).toBe(3);
    expect(requestCount(rig.counts()) - before).toBe(3);
  });

  test.each<[string, (path: string) => void]>([
    ["mode", (path) => chmodSync(path, 0o600)],
    ["mtime", (path) => utimesSync(path, 1, 1)],
  ])("of a change of %s alone is a manifest and the pointer", async (_, mutate) => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    const pusher = await rig.open();
    await rig.push(pusher);
    rig.takePutCount();
    rig.verdict = { wait: "nobody is asked about this" };
    mutate(join(rig.files, "a"));
    await rig.push(pusher);
    expect(rig.takePutCount()).toBe(2);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
  });

  test("stores content that several files have once", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "same", b: "same", c: "same", d: "same", e: "same" });
    await rig.push(await rig.open());
    expect(rig.takePutCount()).toBe(3);
  });

  test("waits for another that is under way, and then looks anew", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    const [arrived, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const store = new FaultyStore(rig.memory, ({ operation }) => {
      if (operation !== "putIfAbsent") return undefined;
      arrived.resolve();
      return { kind: "delay", wait: () => gate.promise };
    });
    const pusher = await rig.open({ store });
    const first = rig.push(pusher);
    await arrived.promise;
    let isBegun = false;
    const second = pusher.push({
      place: () => {
        isBegun = true;
        return rig.place;
      },
    });
    write(rig.files, { b: "second" });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isBegun).toBe(false);
    gate.resolve();
    await Promise.all([first, second]);
    const sequences = (await listManifests(rig.memory)).map(({ sequence }) => sequence);
    expect(sequences).toEqual([1, 2]);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
  });

  test("says the txid from before its look", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    let asked = 0;
    const pusher = await rig.open();
    await pusher.push({
      place: () => {
        asked += 1;
        return { ...firstPlace, txid: `000000000000000${asked}` };
      },
    });
    expect((await rig.newest())?.txid).toBe("0000000000000001");
  });

  test("of more than a batch is several manifests, the small files first", async () => {
    const rig = makePushRig();
    write(rig.files, { large: "x".repeat(1_000), small: "x", medium: "y".repeat(100) });
    const pusher = await rig.open({ batchBytesMax: 150 });
    await rig.push(pusher);
    const named = await Promise.all(
      (await listManifests(rig.memory)).map(async (ref) =>
        pathsOf((await readManifest(rig.memory, ref)).entries),
      ),
    );
    expect(named).toEqual([
      ["files", "files/medium", "files/small"],
      ["files", "files/large", "files/medium", "files/small"],
    ]);
  });

  test("with nothing there and nothing stored writes nothing", async () => {
    const rig = makePushRig();
    await rig.push(await rig.open());
    expect(requestCount(rig.counts())).toBe(0);
  });

  test("keeps what the store has of a root that is not asked for any more", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    await rig.push(await rig.open());
    const other = join(rig.directory, "other");
    write(other, { b: "second" });
    const roots = [{ name: "other", kind: "directory", path: other }] as const;
    await rig.push(await rig.open({ roots }));
    expect(pathsOf((await rig.newest())?.entries)).toEqual([
      "files",
      "files/a",
      "other",
      "other/b",
    ]);
  });

  test("refuses roots with one name, with a bad name, and with a relative path", async () => {
    const rig = makePushRig();
    const root = { name: "files", kind: "directory", path: "/x" } as const;
    const sets = [[root, root], [{ ...root, name: ".x" }], [{ ...root, path: "x" }]];
    for (const roots of sets) await expect(rig.open({ roots })).rejects.toThrow(RangeError);
  });
});

describe("where manifests belong", () => {
  test("another timeline gets a whole manifest with the number 1, though nothing changed, and no blob", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    const pusher = await rig.open();
    await rig.push(pusher);
    rig.takePutCount();
    rig.place = { timeline: "00000002-feedface", epoch: 2, txid: "0000000000000005" };
    await rig.push(pusher);
    expect(rig.takePutCount()).toBe(2);
    const manifest = await rig.newest();
    expect(manifest).toMatchObject({ ...rig.place, sequence: 1 });
    expect(manifest?.entries).toEqual(readTree("files", rig.files));
    await rig.push(pusher);
    expect(rig.takePutCount()).toBe(0);
  });

  test("numbers go on within an epoch, also after a restart, and begin anew in the next", async () => {
    const rig = makePushRig();
    for (const [epoch, name] of [
      [1, "a"],
      [1, "b"],
      [2, "c"],
      [2, "d"],
    ] as const) {
      write(rig.files, { [name]: name });
      rig.place = { ...rig.place, epoch };
      await rig.push(await rig.open());
    }
    const refs = await listManifests(rig.memory);
    expect(refs.map(({ epoch, sequence }) => [epoch, sequence])).toEqual([
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ]);
  });

  test("a host that moves while blobs are stored gets nothing into the old timeline", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    const moved = { timeline: "00000002-feedface", epoch: 2, txid: "0000000000000005" };
    const store = new FaultyStore(rig.memory, ({ key }) =>
      key.startsWith("files/blobs/")
        ? {
            kind: "delay",
            wait: async () => {
              rig.place = moved;
            },
          }
        : undefined,
    );
    await rig.push(await rig.open({ store }));
    expect(await newestManifest(rig.memory, firstPlace.timeline)).toBeUndefined();
    expect(await rig.newest()).toMatchObject({ ...moved, sequence: 1 });
  });

  test("a manifest whose outcome is not known is followed by another number, even if nothing changed", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    let isBroken = false;
    const store = new FaultyStore(rig.memory, ({ operation }) =>
      isBroken && operation === "putIfAbsent"
        ? { kind: "error-after", code: "UNREACHABLE" }
        : undefined,
    );
    const pusher = await rig.open({ store });
    await rig.push(pusher);
    isBroken = true;
    write(rig.files, { b: "second" });
    await expect(rig.push(pusher)).rejects.toMatchObject({ code: "UNREACHABLE" });
    isBroken = false;
    // Now the tree is what the first manifest says, and the newest in the store is not.
    rmSync(join(rig.files, "b"));
    await rig.push(pusher);
    const manifest = await rig.newest();
    expect(manifest?.sequence).toBe(3);
    expect(pathsOf(manifest?.entries)).toEqual(["files", "files/a"]);
  });

  test("a pointer that cannot be written is said, and written with the next look", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "first" });
    let isBroken = true;
    const store = new FaultyStore(rig.memory, ({ key }) =>
      isBroken && key === "files/current.json"
        ? { kind: "error-before", code: "THROTTLED" }
        : undefined,
    );
    const pusher = await rig.open({ store });
    await rig.push(pusher);
    expect(rig.events.map(({ type }) => type)).toEqual(["pushed", "pointer-failing"]);
    expect(await rig.newest()).toBeDefined();
    isBroken = false;
    await rig.push(pusher);
    const pointer = await readText(rig.memory, "files/current.json");
    expect(JSON.parse(pointer)).toMatchObject({ manifest: expect.stringContaining("-00000001-") });
    expect(await listManifests(rig.memory)).toHaveLength(1);
  });
});

async function readText(store: ObjectStore, key: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.get(key)).body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe("evidence", () => {
  test("is asked for changes of content only, with what the store has", async () => {
    const rig = makePushRig();
    write(rig.files, { same: "same", changed: "old", removed: "gone" });
    await rig.push(await rig.open());
    write(rig.files, { changed: "new!", added: "+" });
    rmSync(join(rig.files, "removed"));
    utimesSync(join(rig.files, "same"), 1, 1);
    const asked: Change[] = [];
    const pusher = await rig.open({
      judge: async (changes) => {
        asked.push(...changes);
        return changes.map(() => "complete");
      },
    });
    await rig.push(pusher);
    const previous = (content: string) =>
      expect.objectContaining({ sha256: digest(Buffer.from(content)), size: content.length });
    expect(asked.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { kind: "added", path: "files/added", size: 1 },
      { kind: "changed", path: "files/changed", size: 4, previous: previous("old") },
      { kind: "removed", path: "files/removed", previous: previous("gone") },
    ]);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
  });

  test("`wait` and `keep` leave what the store has, and say why until it is over", async () => {
    const rig = makePushRig();
    write(rig.files, { changed: "old", removed: "gone", other: "" });
    await rig.push(await rig.open());
    const before = (await rig.newest())?.entries;
    write(rig.files, { changed: "longer", added: "half" });
    rmSync(join(rig.files, "removed"));
    utimesSync(rig.files, 1, 1);
    const pusher = await rig.open({
      judge: async (changes) =>
        changes.map(({ kind }) =>
          rig.verdict === "complete"
            ? "complete"
            : kind === "removed"
              ? { keep: "a row names it" }
              : { wait: "its row says 10 bytes" },
        ),
    });
    rig.verdict = "unknown";
    for (let look = 0; look < 3; look += 1) {
      rig.advance(10_000);
      await rig.push(pusher);
    }
    expect((await rig.newest())?.entries).toEqual(before);
    expect(pusher.status().notes).toEqual(
      expect.arrayContaining([
        { kind: "waiting", path: "files/added", reason: "its row says 10 bytes" },
        { kind: "waiting", path: "files/changed", reason: "its row says 10 bytes" },
        { kind: "held", path: "files/removed", reason: "a row names it" },
      ]),
    );
    expect(pusher.status().backlogSince).toBeDefined();
    expect(rig.events.filter(({ type }) => type === "noted")).toHaveLength(3);
    rig.verdict = "complete";
    await rig.push(pusher);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
    expect(pusher.status()).toMatchObject({ notes: [], backlogSince: undefined });
    expect(rig.events.filter(({ type }) => type === "cleared")).toHaveLength(3);
  });

  test("without any, a file goes once it has looked the same for the stated time", async () => {
    const rig = makePushRig();
    rig.verdict = "unknown";
    write(rig.files, { a: "one" });
    const pusher = await rig.open({ settleMs: 5_000 });
    await rig.push(pusher);
    rig.advance(4_900);
    await rig.push(pusher);
    appendFileSync(join(rig.files, "a"), "two");
    rig.advance(200);
    // It looks otherwise than five seconds ago.
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files"]);
    rig.advance(5_000);
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a"]);
    await checkStore(rig.memory);
  });

  test("without any, a single removal goes after two looks, and not if the file came back in between", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one", b: "two" });
    await rig.push(await rig.open());
    rig.verdict = "unknown";
    const pusher = await rig.open({ settleMs: 5_000 });
    const look = async (ms: number) => {
      rig.advance(ms);
      await rig.push(pusher);
      return pathsOf((await rig.newest())?.entries);
    };
    rmSync(join(rig.files, "a"));
    expect(await look(0)).toContain("files/a");
    write(rig.files, { a: "one" });
    await look(6_000);
    rmSync(join(rig.files, "a"));
    expect(await look(6_000)).toContain("files/a");
    expect(await look(4_000)).toContain("files/a");
    expect(await look(2_000)).toEqual(["files", "files/b"]);
  });

  test("the last push waits for the second look itself", async () => {
    const rig = makePushRig();
    rig.verdict = "unknown";
    write(rig.files, { a: "one" });
    const pusher = await rig.open();
    await pusher.push({ place: () => rig.place, final: true });
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a"]);
  });

  test("the last push looks again at what was being written in its first look", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one" });
    let askedCount = 0;
    const judge: Judge = async (changes) => {
      askedCount += 1;
      if (askedCount === 1) write(rig.files, { a: "one and two" });
      return changes.map(() => "complete");
    };
    const pusher = await rig.open({ judge });
    await pusher.push({ place: () => rig.place, final: true });
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
  });

  test("that cannot be had pushes nothing and fails loudly", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one" });
    const judge = () => Promise.reject(new Error("the database is locked"));
    const pusher = await rig.open({ judge });
    await expect(rig.push(pusher)).rejects.toThrow("the database is locked");
    expect(requestCount(rig.counts())).toBe(0);
    expect(pusher.status().failure).toMatchObject({ message: "the database is locked" });
    await expect(rig.push(await rig.open({ judge: async () => [] }))).rejects.toThrow(RangeError);
  });
});

describe("a disaster is no deletion", () => {
  const disasters: [string, string, (files: string) => void][] = [
    ["missing", "is missing", (files) => renameSync(files, `${files}.away`)],
    ["wiped", "has no file", (files) => wipe(files)],
    [
      "unmounted: an empty directory in its place",
      "has no file",
      (files) => {
        renameSync(files, `${files}.away`);
        mkdirSync(files);
      },
    ],
    [
      "swapped: another directory with other files in its place",
      "another directory",
      (files) => {
        renameSync(files, `${files}.away`);
        write(files, { "odd/stranger": "not ours" });
        chmodSync(files, 0o711);
      },
    ],
    [
      "a file instead of a directory",
      "is not a directory",
      (files) => {
        renameSync(files, `${files}.away`);
        writeFileSync(files, "");
      },
    ],
  ];
  for (const restart of [false, true]) {
    test.each(disasters)(
      `%s${restart ? ", over a restart" : ""}: nothing of the root is pushed, and the others are`,
      async (_, reason, happen) => {
        const rig = makePushRig();
        const other = join(rig.directory, "other");
        const roots = [...rig.roots, { name: "other", kind: "directory", path: other } as const];
        write(rig.files, { a: "one", "sub/b": "two" });
        write(other, { c: "three" });
        let pusher = await rig.open({ roots });
        await rig.push(pusher);
        const before = (await rig.newest())?.entries.filter(({ path }) => /^files/.test(path));

        happen(rig.files);
        write(other, { d: "four" });
        rig.verdict = "unknown";
        if (restart) pusher = await rig.open({ roots });
        for (let look = 0; look < 3; look += 1) {
          await rig.push(pusher);
          rig.advance(60_000);
        }
        const after = (await rig.newest())?.entries ?? [];
        expect(after.filter(({ path }) => /^files/.test(path))).toEqual(before);
        expect(pathsOf(after)).toContain("other/d");
        const notes = pusher.status().notes;
        expect(notes).toEqual([
          expect.objectContaining({ path: "files", reason: expect.stringContaining(reason) }),
        ]);
      },
    );
  }

  test("what comes back is taken up again", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one", b: "two" });
    const pusher = await rig.open();
    await rig.push(pusher);
    rig.verdict = "unknown";
    renameSync(rig.files, `${rig.files}.away`);
    await rig.push(pusher);
    rig.advance(3_600_000);
    renameSync(`${rig.files}.away`, rig.files);
    rmSync(join(rig.files, "b"));
    // The look while all was gone was no look at what is gone now.
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toContain("files/b");
    rig.advance(10_000);
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a"]);
    expect(pusher.status().notes).toEqual([]);
  });

  test("one file without evidence is enough to hold an empty root", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one", b: "two" });
    await rig.push(await rig.open());
    wipe(rig.files);
    const pusher = await rig.open({
      judge: async (changes) =>
        changes.map(({ path }) => (path === "files/a" ? "complete" : "unknown")),
    });
    for (let look = 0; look < 2; look += 1) {
      await rig.push(pusher);
      rig.advance(60_000);
    }
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a", "files/b"]);
  });

  test("what is below a directory that cannot be seen stays", async () => {
    const rig = makePushRig();
    write(rig.files, { "sub/a": "one", b: "two" });
    const pusher = await rig.open();
    await rig.push(pusher);
    renameSync(join(rig.files, "sub"), join(rig.directory, "elsewhere"));
    symlinkSync(join(rig.directory, "elsewhere"), join(rig.files, "sub"));
    rmSync(join(rig.files, "b"));
    write(rig.files, { c: "three" });
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual([
      "files",
      "files/c",
      "files/sub",
      "files/sub/a",
    ]);
    expect(pusher.status().notes).toEqual([
      expect.objectContaining({ kind: "problem", path: "files/sub" }),
    ]);
  });
});

function wipe(directory: string): void {
  for (const name of readdirSync(directory)) {
    rmSync(join(directory, name), { recursive: true });
  }
}

describe("a file and a directory of one name", () => {
  test("a directory where a file is held: what is in it waits", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "file", other: "" });
    await rig.push(await rig.open());
    rmSync(join(rig.files, "a"));
    write(rig.files, { "a/b": "below" });
    const pusher = await rig.open({
      judge: async (changes) =>
        changes.map(({ kind }) => (kind === "removed" ? { keep: "a row names it" } : "complete")),
    });
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a", "files/other"]);
    expect(pusher.status().notes.map(({ kind, path }) => [kind, path])).toEqual(
      expect.arrayContaining([
        ["held", "files/a"],
        ["waiting", "files/a/b"],
      ]),
    );
  });

  test("a file where a directory's files are held: it waits", async () => {
    const rig = makePushRig();
    write(rig.files, { "a/b": "below", other: "" });
    await rig.push(await rig.open());
    rmSync(join(rig.files, "a"), { recursive: true });
    write(rig.files, { a: "file" });
    const pusher = await rig.open({
      judge: async (changes) =>
        changes.map(({ kind }) => (kind === "removed" ? { keep: "a row names it" } : "complete")),
    });
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual([
      "files",
      "files/a",
      "files/a/b",
      "files/other",
    ]);
  });

  test("with evidence the one takes the other's place", async () => {
    const rig = makePushRig();
    write(rig.files, { "a/b": "below", c: "file" });
    const pusher = await rig.open();
    await rig.push(pusher);
    rmSync(join(rig.files, "a"), { recursive: true });
    rmSync(join(rig.files, "c"));
    write(rig.files, { a: "file", "c/d": "below" });
    await rig.push(pusher);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
  });
});

describe("failures", () => {
  test("a file that this store never takes does not keep the others out", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one", b: "refused", c: "three" });
    const key = digest(Buffer.from("refused"));
    const store = new FaultyStore(rig.memory, (call) =>
      call.key.endsWith(key) ? { kind: "error-before", code: "INVALID_ARGUMENT" } : undefined,
    );
    const pusher = await rig.open({ store });
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a", "files/c"]);
    expect(pusher.status().notes).toEqual([
      expect.objectContaining({ kind: "problem", path: "files/b" }),
    ]);
  });

  test("a file that is written to without pause does not keep the others out of a batch", async () => {
    const rig = makePushRig();
    write(rig.files, { busy: "12345678", large: "x".repeat(1_000) });
    const judge: Judge = async (changes) => {
      write(rig.files, { busy: `${Math.random()}`.slice(0, 8) });
      return changes.map(() => "complete");
    };
    const pusher = await rig.open({ judge, batchBytesMax: 1 });
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/large"]);
    expect(pusher.status().notes).toMatchObject([{ kind: "waiting", path: "files/busy" }]);
  });

  test("a store that fails ends the push with its error; what was stored before is named, and not sent again", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "1", b: "22", c: "333" });
    let isBroken = true;
    const sent: string[] = [];
    const store = new FaultyStore(rig.memory, ({ key }) => {
      if (key.startsWith("files/blobs/")) sent.push(key.slice(-64));
      return isBroken && key.endsWith(digest(Buffer.from("22")))
        ? { kind: "error-before", code: "UNREACHABLE" }
        : undefined;
    });
    const pusher = await rig.open({ store, uploadsMax: 1 });
    await expect(rig.push(pusher)).rejects.toBeInstanceOf(ObjectStoreError);
    // What was begun beside the one that failed comes to its end.
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/a", "files/c"]);
    expect(pusher.status()).toMatchObject({
      unstored: ["files/b"],
      backlogSince: expect.any(Date) as Date,
    });
    isBroken = false;
    await rig.push(pusher);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
    const expected = ["1", "22", "22", "333"].map((text) => digest(Buffer.from(text)));
    expect(sent.toSorted()).toEqual(expected.toSorted());
    expect(pusher.status()).toMatchObject({
      failure: undefined,
      backlogSince: undefined,
      unstored: [],
    });
  });

  test("a blob that was stored long ago and never named is stored again: a prune may have been there", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one" });
    let isBroken = true;
    const store = new FaultyStore(rig.memory, ({ operation }) =>
      isBroken && operation === "putIfAbsent"
        ? { kind: "error-before", code: "UNREACHABLE" }
        : undefined,
    );
    const pusher = await rig.open({ store });
    await expect(rig.push(pusher)).rejects.toThrow();
    for await (const page of rig.memory.list("files/blobs/")) {
      for (const { key } of page) await rig.memory.delete(key);
    }
    isBroken = false;
    rig.advance(3_700_000);
    await rig.push(pusher);
    await checkStore(rig.memory);
  });

  test("a state directory that cannot be written is an event, and the push counts", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "one" });
    utimesSync(join(rig.files, "a"), 1, 1);
    rig.advance(10_000);
    writeFileSync(join(rig.directory, "state"), "a file");
    await rig.push(await rig.open());
    expect(rig.events.map(({ type }) => type)).toEqual(["pushed", "cache-failing"]);
  });

  test.each(["", "files/blobs/", "files/manifests/", "files/current.json"])(
    "an abort at %j ends the push with its reason, and the next one succeeds",
    async (prefix) => {
      const rig = makePushRig();
      write(rig.files, { a: "one", b: "two" });
      const controller = new AbortController();
      const reason = new Error("told to stop");
      const store = new FaultyStore(rig.memory, ({ key }) => {
        if (!key.startsWith(prefix) || controller.signal.aborted) return undefined;
        queueMicrotask(() => controller.abort(reason));
        return { kind: "stall" };
      });
      const pusher = await rig.open({ store });
      const { signal } = controller;
      if (prefix === "") controller.abort(reason);
      await expect(pusher.push({ place: () => rig.place, signal })).rejects.toBe(reason);
      await checkStore(rig.memory);
      await rig.push(pusher);
      expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
      // No number is used for a manifest that was not tried.
      expect((await rig.newest())?.sequence).toBe(prefix === "files/manifests/" ? 2 : 1);
    },
  );
});

describe("content checks", () => {
  const isJson = (bytes: Uint8Array): string | undefined => {
    try {
      JSON.parse(Buffer.from(bytes).toString());
      return undefined;
    } catch {
      return "it is not JSON";
    }
  };

  test("see the very bytes; what they refuse stays as it was", async () => {
    const rig = makePushRig();
    const path = join(rig.directory, "config.json");
    const roots = [{ name: "config", kind: "file", path }] as const;
    writeFileSync(path, '{"a":1}');
    const pusher = await rig.open({ roots, contentChecks: new Map([["config", isJson]]) });
    await rig.push(pusher);
    const before = await rig.newest();
    writeFileSync(path, '{"a":1,"b');
    await rig.push(pusher);
    expect(await rig.newest()).toEqual(before);
    expect(pusher.status().notes).toEqual([
      { kind: "waiting", path: "config", reason: "it is not JSON" },
    ]);
    writeFileSync(path, '{"a":1,"b":2}');
    await rig.push(pusher);
    expect((await rig.newest())?.entries).toEqual(readTree("config", path));
  });

  test("refuse what is too large for them", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "" });
    truncateSync(join(rig.files, "a"), 17 * 1024 * 1024);
    const pusher = await rig.open({ contentChecks: new Map([["files/a", () => undefined]]) });
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files"]);
    expect(pusher.status().notes).toEqual([
      expect.objectContaining({ kind: "problem", path: "files/a" }),
    ]);
  });
});

describe("what the predecessor got wrong", () => {
  test("weakness 10: a half file or half configuration is never stored", async () => {
    const rig = makePushRig();
    write(rig.files, { "config.json": "" });
    const whole = JSON.stringify({ domain: "https://vault.example", smtp: "secret" });
    const pusher = await rig.open({
      judge: async (changes) =>
        changes.map(({ size }) => (size === whole.length ? "complete" : { wait: "half" })),
    });
    for (const character of whole) {
      await rig.push(pusher);
      appendFileSync(join(rig.files, "config.json"), character);
    }
    await rig.push(pusher);
    const blobs: string[] = [];
    for await (const page of rig.memory.list("files/blobs/")) {
      blobs.push(...page.map(({ key }) => key.slice(-64)));
    }
    expect(blobs).toEqual([digest(Buffer.from(whole))]);
  });

  test("weakness 11 and H7: a file that is ruined here is still whole in the manifest before", async () => {
    const rig = makePushRig();
    write(rig.files, { a: "precious", b: "other" });
    const pusher = await rig.open();
    await rig.push(pusher);
    const before = await rig.newest();
    write(rig.files, { a: "ruined" });
    await rig.push(pusher);
    const entry = before?.entries.find(({ path }) => path === "files/a");
    expect(entry?.kind).toBe("file");
    if (before === undefined || entry?.kind !== "file") return;
    expect((await readManifest(rig.memory, before)).entries).toContainEqual(entry);
    expect((await readBlob(rig.memory, entry.sha256)).toString()).toBe("precious");
  });

  test("weakness 19 and H6: the deletion of the last file is stored, with evidence; the wiped directory is not", async () => {
    const rig = makePushRig();
    write(rig.files, { "cipher/last": "attachment" });
    const pusher = await rig.open();
    await rig.push(pusher);
    rmSync(join(rig.files, "cipher/last"));
    rig.verdict = { keep: "a row names it" };
    await rig.push(pusher);
    expect(pathsOf((await rig.newest())?.entries)).toContain("files/cipher/last");
    expect(pusher.status().notes).toMatchObject([{ kind: "held", path: "files" }]);
    rig.verdict = "complete";
    await rig.push(pusher);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
    expect(pathsOf((await rig.newest())?.entries)).toEqual(["files", "files/cipher"]);
    expect(pusher.status()).toMatchObject({ files: 0, notes: [] });
  });

  test("weakness 24: times of directories and files that are written anew with the same content cost no blob", async () => {
    const rig = makePushRig();
    write(rig.files, { "config.json": "{}" });
    utimesSync(join(rig.files, "config.json"), 5, 5);
    const pusher = await rig.open();
    await rig.push(pusher);
    rig.takePutCount();
    for (let hour = 0; hour < 24; hour += 1) {
      utimesSync(rig.files, hour, hour);
      writeFileSync(join(rig.files, "config.json"), readFileSync(join(rig.files, "config.json")));
      utimesSync(join(rig.files, "config.json"), 5, 5);
      rig.advance(3_600_000);
      await rig.push(pusher);
    }
    expect(rig.takePutCount()).toBe(0);
  });

  test("weakness 25: with many files, one new one is one blob, and a restart is nothing", async () => {
    const rig = makePushRig();
    const contents = Array.from({ length: 2_000 }, (_, index) => [
      `${index % 50}/${index}`,
      `content ${index}`,
    ]);
    write(rig.files, Object.fromEntries(contents));
    const pusher = await rig.open();
    await rig.push(pusher);
    rig.takePutCount();
    const before = rig.counts().bytesUp;
    write(rig.files, { "7/new": "x".repeat(1024) });
    await rig.push(pusher);
    expect(rig.takePutCount()).toBe(3);
    const manifestBytes = 2_100 * 250;
    expect(rig.counts().bytesUp - before).toBeLessThan(1024 + manifestBytes);
    await rig.push(await rig.open());
    expect(rig.takePutCount()).toBe(0);
  });
});
