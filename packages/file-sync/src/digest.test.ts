import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  lstatSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { MemoryStore } from "@vaultwarden-stream/object-store";
import { describe, expect, test } from "vitest";
import { identityOf } from "./change-test.ts";
import { checkUnchanged, digestFile, readWhole, verifiedBody } from "./digest.ts";
import { temporaryDirectory } from "./push-testing.ts";
import type { FileSighting } from "./scan.ts";
import { digest } from "./test-tree.ts";

function sight(location: string): FileSighting {
  const stats = lstatSync(location, { bigint: true });
  return { kind: "file", path: "files/a", location, mode: 0o644, identity: identityOf(stats) };
}

function makeFile(content: Uint8Array): FileSighting {
  const location = join(temporaryDirectory(), "a");
  writeFileSync(location, content);
  return sight(location);
}

/** More than a chunk, and not a multiple of it. */
const large = Buffer.alloc(1_300_000, "abc");

describe("reading a file", () => {
  test.each([Buffer.from(""), Buffer.from("x"), large])(
    "gives its digest and bytes",
    async (content) => {
      const file = makeFile(content);
      expect(await digestFile(file, undefined)).toBe(digest(content));
      expect(Buffer.from(await readWhole(file, undefined)).equals(content)).toBe(true);
      await checkUnchanged(file);
    },
  );

  const changes: [string, "waiting" | "problem", (path: string) => void][] = [
    ["longer", "waiting", (path) => appendFileSync(path, "x")],
    ["shorter", "waiting", (path) => truncateSync(path, 1)],
    ["gone", "waiting", (path) => rmSync(path)],
    [
      "a fifo that nobody writes to",
      "waiting",
      (path) => {
        rmSync(path);
        execFileSync("mkfifo", [path]);
      },
    ],
  ];
  test.each(changes)("that is %s since the look fails", async (_, kind, change) => {
    const file = makeFile(large);
    change(file.location);
    const failure = { name: "FileUnreadError", kind };
    await expect(digestFile(file, undefined)).rejects.toMatchObject(failure);
    await expect(readWhole(file, undefined)).rejects.toMatchObject(failure);
    await expect(checkUnchanged(file)).rejects.toMatchObject(failure);
  });

  test("behind a link that took its place fails, even if it leads to the file that was seen", async () => {
    const file = makeFile(large);
    const location = `${file.location}.link`;
    symlinkSync(file.location, location);
    const failure = { name: "FileUnreadError", kind: "waiting" };
    await expect(digestFile({ ...file, location }, undefined)).rejects.toMatchObject(failure);
  });

  test("that may not be read is a problem with its reason", async () => {
    const file = makeFile(large);
    chmodSync(file.location, 0o000);
    const closed = sight(file.location);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    try {
      const reading = digestFile(closed, undefined);
      await expect(reading).rejects.toMatchObject({
        kind: "problem",
        message: "this process may not read it",
      });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });

  test("ends with the reason of an abort", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(digestFile(makeFile(large), signal)).rejects.toThrow("enough");
  });
});

describe("a verified body", () => {
  test("gives all bytes as often as it is opened", async () => {
    const store = new MemoryStore();
    const body = verifiedBody(makeFile(large), digest(large), () => undefined);
    await store.put("one", body);
    await store.put("two", body);
    expect((await store.head("two")).size).toBe(large.length);
  });

  test("withholds the end if the bytes are others than the digest says, so that nothing is stored", async () => {
    const store = new MemoryStore();
    const told: Error[] = [];
    const body = verifiedBody(makeFile(large), "00".repeat(32), (error) => told.push(error));
    await expect(store.put("key", body)).rejects.toMatchObject({ name: "FileUnreadError" });
    await expect(store.head("key")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(told).toHaveLength(1);
  });

  test.each<[string, (path: string) => void]>([
    // The same bytes: the digest agrees, and somebody is writing all the same.
    ["written to", (path) => writeFileSync(path, large)],
    ["cut", (path) => truncateSync(path, 10)],
  ])("fails, and withholds the end, if the file is %s while it is read", async (_, change) => {
    const file = makeFile(large);
    const body = verifiedBody(file, digest(large), () => undefined);
    if (body instanceof Uint8Array) throw new Error("it is a stream");
    let received = 0;
    const read = async () => {
      for await (const chunk of body.open()) {
        if (received === 0) change(file.location);
        received += chunk.length;
      }
    };
    await expect(read()).rejects.toMatchObject({ name: "FileUnreadError", kind: "waiting" });
    expect(received).toBeLessThan(large.length);
  });
});
