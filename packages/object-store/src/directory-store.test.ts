import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { defineConformanceTests } from "./conformance.ts";
import { DirectoryStore } from "./directory-store.ts";
import type { ObjectBody } from "./object-store.ts";

const base = await mkdtemp(join(tmpdir(), "directory-store-"));
afterAll(() => rm(base, { recursive: true, force: true }));

const freshRoot = async () => join(await mkdtemp(join(base, "case-")), "root");

defineConformanceTests("DirectoryStore", async () => {
  const root = await freshRoot();
  return {
    store: new DirectoryStore(root),
    reopen: () => new DirectoryStore(root),
    cleanup: () => rm(root, { recursive: true, force: true }),
  };
});

const bytes = (text: string) => new TextEncoder().encode(text);

async function listKeys(store: DirectoryStore, prefix = ""): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of store.list(prefix)) keys.push(...page.map(({ key }) => key));
  return keys;
}

/** All names in the directory, hidden ones included. */
async function allNames(directory: string): Promise<string[]> {
  return (await readdir(directory)).sort();
}

describe("DirectoryStore", () => {
  let root: string;
  let store: DirectoryStore;
  beforeEach(async () => {
    root = await freshRoot();
    store = new DirectoryStore(root);
  });

  it("leaves an object without metadata as it is when another of its size and time is refused", async () => {
    const timestamp = new Date("2026-03-01T00:00:00.000Z");
    await store.put("k", new Uint8Array([1]), { timestamp });
    const metadata = { nonce: "2" };
    const outcome = await store.putIfAbsent("k", new Uint8Array([2]), { timestamp, metadata });
    expect(outcome).toBe("exists");
    expect((await store.head("k")).metadata).toBeUndefined();
  });

  describe("temporary files of killed writers", () => {
    const leftover = ".01234567-89ab-cdef-0123-456789abcdef.tmp";
    const dayMs = 24 * 60 * 60 * 1000;
    const put = (key: string) => new DirectoryStore(root).put(key, bytes("new"));
    const atAge = async (ageMs: number, act: () => Promise<unknown>) => {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ageMs });
      try {
        await act();
      } finally {
        vi.useRealTimers();
      }
    };
    beforeEach(async () => {
      await store.put("a/object", bytes("old"));
      await writeFile(join(root, "a", leftover), "half");
    });

    it("are removed by the first write into their directory once they are a day old", async () => {
      await atAge(dayMs + 60_000, () => put("b/other"));
      expect(await allNames(join(root, "a"))).toContain(leftover);
      await atAge(dayMs + 60_000, () => put("a/next"));
      expect(await allNames(join(root, "a"))).toEqual(["next", "object"]);
    });

    it("are left alone before, also with an mtime of long ago, which a write may set", async () => {
      await utimes(join(root, "a", leftover), new Date(0), new Date(0));
      await atAge(dayMs - 60_000, () => put("a/next"));
      expect(await allNames(join(root, "a"))).toContain(leftover);
    });

    it("are told from every other hidden file", async () => {
      await writeFile(join(root, "a", ".mine.tmp"), "somebody's");
      await atAge(dayMs + 60_000, () => put("a/next"));
      expect(await allNames(join(root, "a"))).toEqual([".mine.tmp", "next", "object"]);
    });
  });

  describe("root", () => {
    it("is created by the first write, with its parents, and by no read", async () => {
      root = join(root, "deep", "er");
      store = new DirectoryStore(root);
      await expect(store.get("k")).rejects.toMatchObject({ code: "NOT_FOUND" });
      expect(await listKeys(store)).toEqual([]);
      await store.delete("k");
      await expect(stat(root)).rejects.toMatchObject({ code: "ENOENT" });
      await store.put("k", bytes("v"));
      expect(await listKeys(store)).toEqual(["k"]);
    });

    it("is refused by every request if it is a file", async () => {
      await writeFile(root, "");
      const refusal = { code: "FORBIDDEN", hint: expect.stringContaining("path of the store") };
      await expect(store.get("k")).rejects.toMatchObject(refusal);
      await expect(store.head("k")).rejects.toMatchObject(refusal);
      await expect(store.put("k", bytes("v"))).rejects.toMatchObject(refusal);
      await expect(store.putIfAbsent("a/k", bytes("v"))).rejects.toMatchObject(refusal);
      await expect(store.delete("k")).rejects.toMatchObject(refusal);
      await expect(listKeys(store)).rejects.toMatchObject(refusal);
    });

    // Node's own mkdir with `recursive` never returns there.
    it.runIf(process.platform === "linux")(
      "is an error where nothing can be made although the parent exists",
      async () => {
        store = new DirectoryStore("/proc/vaultwarden-stream/replica");
        await expect(store.put("k", bytes("v"))).rejects.toMatchObject({ code: "UNREACHABLE" });
      },
    );

    it.each(["", "a", "a/b"])(
      "is not made again if somebody removes %j of it while it is in use, and goes on when that is back",
      async (removed) => {
        await store.put("a/b/k", bytes("v"));
        await rename(join(root, removed), `${root}-aside`);
        const gone = { code: "UNREACHABLE", hint: expect.stringContaining("removed or unmounted") };
        await expect(store.put("a/b/k2", bytes("w"))).rejects.toMatchObject(gone);
        await expect(store.putIfAbsent("a/b/c/k", bytes("w"))).rejects.toMatchObject(gone);
        await rename(`${root}-aside`, join(root, removed));
        await store.put("a/b/k2", bytes("w"));
        expect(await listKeys(store)).toEqual(["a/b/k", "a/b/k2"]);
      },
    );

    it("is made again by a store that is opened anew", async () => {
      await store.put("a/b/k", bytes("v"));
      await rm(root, { recursive: true });
      await new DirectoryStore(root).put("a/b/k", bytes("w"));
      expect(await listKeys(store)).toEqual(["a/b/k"]);
    });

    it.skipIf(process.getuid?.() === 0)(
      "answers FORBIDDEN where permission is missing (root has every permission)",
      async () => {
        await mkdir(root);
        await chmod(root, 0);
        try {
          await expect(store.get("k")).rejects.toMatchObject({ code: "FORBIDDEN" });
          await expect(store.put("k", bytes("v"))).rejects.toMatchObject({ code: "FORBIDDEN" });
          await expect(listKeys(store)).rejects.toMatchObject({ code: "FORBIDDEN" });
        } finally {
          await chmod(root, 0o700);
        }
      },
    );
  });

  describe("keys and paths", () => {
    it("refuses a key that is a directory, or lies below an object, and says why", async () => {
      await store.put("a/b/c", bytes("v"));
      const refusal = { code: "INVALID_ARGUMENT", hint: expect.stringContaining("cannot both") };
      await expect(store.put("a/b", bytes("v"))).rejects.toMatchObject(refusal);
      await expect(store.putIfAbsent("a/b", bytes("v"))).rejects.toMatchObject(refusal);
      await expect(store.put("a/b/c/d", bytes("v"))).rejects.toMatchObject(refusal);
      await expect(store.put("a/b/c/d/e", bytes("v"))).rejects.toMatchObject(refusal);
      await expect(store.get("a/b/c/d")).rejects.toMatchObject({ code: "NOT_FOUND" });
      await store.delete("a/b");
      await store.delete("a/b/c/d");
      expect(await listKeys(store)).toEqual(["a/b/c"]);
    });

    it("lists neither hidden files nor names that are no keys", async () => {
      await store.put("a/k", bytes("v"), { metadata: { nonce: "n" } });
      for (const name of [".x.tmp", ".k.meta", "a b", "ä", ".hidden"]) {
        await writeFile(join(root, "a", name), "");
      }
      await mkdir(join(root, "a", ".git"));
      await writeFile(join(root, "a", ".git", "config"), "");
      await mkdir(join(root, "a", "no key"));
      await writeFile(join(root, "a", "no key", "k"), "");
      expect(await listKeys(store)).toEqual(["a/k"]);
    });

    it("follows links in listings as it does in reads, and survives loops", async () => {
      await mkdir(`${root}-elsewhere`);
      await writeFile(join(`${root}-elsewhere`, "k"), "v");
      await mkdir(root);
      await symlink(`${root}-elsewhere`, join(root, "linked"));
      await symlink("nowhere", join(root, "dangling"));
      await symlink("self", join(root, "self"));
      await symlink(".", join(root, "loop"));
      await symlink("..", join(root, "other-loop"));
      expect(await listKeys(store)).toEqual(["linked/k"]);
      expect(await listKeys(store, "linked/k")).toEqual(["linked/k"]);
    });
  });

  describe("files", () => {
    it("leaves nothing but the object and its sidecar behind", async () => {
      const body: ObjectBody = { size: 9, open: () => streamOf(bytes("too short").subarray(1)) };
      const metadata = { nonce: "n" };
      await store.put("k", bytes("1"), { metadata });
      await store.put("k", bytes("2"), { metadata });
      await store.putIfAbsent("k", bytes("3"), { metadata });
      await expect(store.put("k", body, { metadata })).rejects.toThrow();
      expect(await allNames(root)).toEqual([".k.meta", "k"]);
      await store.put("k", bytes("4"));
      expect(await allNames(root)).toEqual(["k"]);
      await store.put("k", bytes("5"), { metadata });
      await store.delete("k");
      expect(await allNames(root)).toEqual([]);
    });

    it("has the timestamp as mtime, at or just above the millisecond", async () => {
      for (let index = 0; index < 50; index++) {
        const timestamp = new Date(1_786_000_000_000 + index * 86_413_597);
        await store.put("k", bytes("v"), { timestamp });
        const { mtimeNs } = await stat(join(root, "k"), { bigint: true });
        expect(mtimeNs - BigInt(timestamp.getTime()) * 1_000_000n).toBeGreaterThanOrEqual(0n);
        expect(mtimeNs - BigInt(timestamp.getTime()) * 1_000_000n).toBeLessThan(2000n);
        expect((await store.head("k")).timestamp).toEqual(timestamp);
      }
    });

    it("reads a torn, foreign or oversized sidecar as no metadata", async () => {
      const timestamp = new Date(1_700_000_000_001);
      await store.put("k", bytes("v"), { metadata: { nonce: "n" }, timestamp });
      const sidecar = join(root, ".k.meta");
      const whole = await readFile(sidecar);
      for (let length = 0; length < whole.length; length++) {
        await writeFile(sidecar, whole.subarray(0, length));
        expect((await store.head("k")).metadata).toBeUndefined();
      }
      for (const foreign of [
        "null",
        "[]",
        '{"size":1,"mtimeMs":1700000000001}',
        '{"size":1,"mtimeMs":1700000000001,"metadata":[]}',
        '{"size":1,"mtimeMs":1700000000001,"metadata":{"n":1}}',
        '{"size":1,"mtimeMs":1700000000001,"metadata":{"N":"v"}}',
        '{"size":2,"mtimeMs":1700000000001,"metadata":{"n":"v"}}',
        '{"size":1,"mtimeMs":1700000000002,"metadata":{"n":"v"}}',
        `${" ".repeat(20_000)}${whole.toString()}`,
      ]) {
        await writeFile(sidecar, foreign);
        expect((await store.head("k")).metadata).toBeUndefined();
      }
      await writeFile(sidecar, whole);
      expect((await store.head("k")).metadata).toEqual({ nonce: "n" });
    });

    it("does not give an object that somebody else wrote the metadata of ours", async () => {
      await store.put("k", bytes("v"), { metadata: { nonce: "n" }, timestamp: new Date(1000) });
      await writeFile(join(root, "k"), "w");
      await utimes(join(root, "k"), 2, 2);
      const info = await store.head("k");
      expect(info).toMatchObject({ size: 1, timestamp: new Date(2000) });
      expect(info.metadata).toBeUndefined();
    });

    it("reports a file that was cut while it was read", async () => {
      await store.put("k", new Uint8Array(2_000_000));
      const { body } = await store.get("k");
      const read = async () => {
        let size = 0;
        for await (const chunk of body) {
          if (size === 0) await truncate(join(root, "k"), chunk.length + 10);
          size += chunk.length;
        }
      };
      await expect(read()).rejects.toMatchObject({ code: "BODY_MISMATCH" });
    });

    it("keeps reading the old object after it was replaced or deleted", async () => {
      const old = new Uint8Array(2_000_000).fill(1);
      await store.put("k", old);
      const { body } = await store.get("k");
      let size = 0;
      for await (const chunk of body) {
        if (size === 0) {
          await store.put("k", new Uint8Array(3_000_000).fill(2));
          await store.delete("k");
        }
        expect(chunk.every((byte) => byte === 1)).toBe(true);
        size += chunk.length;
      }
      expect(size).toBe(old.length);
    });

    it.skipIf(process.platform !== "linux")("closes every file that it opened", async () => {
      await store.put("k", new Uint8Array(2_000_000), { metadata: { nonce: "n" } });
      // Looked at after each step: what is forgotten is closed some time later by the garbage collector.
      const expectClosed = async () => {
        const links = (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`));
        const paths = (await Promise.allSettled(links)).map((link) =>
          link.status === "fulfilled" ? link.value : "",
        );
        expect(paths.filter((path) => path.startsWith(root))).toEqual([]);
      };
      await expectClosed();
      await (await store.get("k")).body[Symbol.asyncIterator]().return?.();
      await expectClosed();
      for await (const _ of (await store.get("k")).body) break;
      await expectClosed();
      for await (const _ of (await store.get("k")).body);
      await expectClosed();
      await expect(store.get("k", { range: { start: 9_000_000 } })).rejects.toThrow();
      await expectClosed();
      await mkdir(join(root, "directory"));
      await expect(store.get("directory")).rejects.toThrow();
      await expectClosed();
      await store.putIfAbsent("k", bytes("v"), { metadata: { nonce: "n" } });
      await expectClosed();
      await expect(store.put("directory", bytes("v"))).rejects.toThrow();
      await expectClosed();
    });
  });

  it("never explains an abort reason or a body's error, even if it looks like one of its own files", async () => {
    await store.put("k", bytes("v"));
    const reason = Object.assign(new Error("EIO: read"), { code: "EIO", syscall: "read" });
    const controller = new AbortController();
    const { signal } = controller;
    const pages = store.list("", { signal });
    const { body } = await store.get("k", { signal });
    const failingBody = {
      size: 2,
      open: async function* () {
        yield bytes("v");
        throw reason;
      },
    };
    await expect(store.put("new", failingBody)).rejects.toBe(reason);
    const next = pages.next();
    controller.abort(reason);
    await expect(next).rejects.toBe(reason);
    await expect(body[Symbol.asyncIterator]().next()).rejects.toBe(reason);
    await expect(store.put("new", bytes("v"), { signal })).rejects.toBe(reason);
    expect(await listKeys(store)).toEqual(["k"]);
  });

  it("shows no part of an object when the writer is killed in the middle", async () => {
    // A child puts an object in chunks and says how far it is; it is killed at several depths, by a signal that nobody can catch.
    const child = fileURLToPath(new URL("directory-store.crash-child.ts", import.meta.url));
    await store.put("replaced", bytes("old"));
    for (const chunkCount of [1, 3, 7]) {
      const writer = spawn(process.execPath, [child, root], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      for await (const data of writer.stdout) {
        output += data;
        if (output.split("\n").length > chunkCount) break;
      }
      writer.kill("SIGKILL");
      await once(writer, "exit");
      const reader = new DirectoryStore(root);
      expect(await listKeys(reader)).toEqual(["replaced"]);
      await expect(reader.head("created")).rejects.toMatchObject({ code: "NOT_FOUND" });
      expect(await readFile(join(root, "replaced"), "utf8")).toBe("old");
      // The kill came in the middle of a write, or this test shows nothing.
      expect((await allNames(root)).some((name) => name.endsWith(".tmp"))).toBe(true);
    }
  });
});

async function* streamOf(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
