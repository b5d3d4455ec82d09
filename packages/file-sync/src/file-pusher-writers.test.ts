/**
 * Goal: no manifest ever names a part of a file, or a mix of two contents, whatever others do to the files meanwhile.
 *
 * Method: another process writes as the server does, in place and byte by byte, replaces, and deletes, while pushes follow each other
 * as fast as they can. Every content that was ever complete is known by its form: `<size> <byte>…`. The judge knows sizes, as
 * rows do.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CountingStore,
  FaultyStore,
  type ObjectBody,
  type ObjectStore,
  ObjectStoreError,
  type PutOptions,
} from "@vaultwarden-stream/object-store";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Judge } from "./judge.ts";
import { listManifests, readManifest } from "./manifests.ts";
import { checkStore, makePushRig, type PushRig, readBlob } from "./push-testing.ts";
import { digest, readTree } from "./test-tree.ts";

const sizes = [1, 10, 5_000, 70_000, 1_500_000];

/** A shell writes in place: `: >` truncates, `>>` appends. No content is complete before its last byte, `.`. */
const script = String.raw`
cd "$1"; i=0
while [ -e go ]; do
  i=$((i+1)); size=$(echo $2 | cut -d' ' -f$((i % 5 + 1)))
  byte=$(printf "\\$(printf %03o $((97 + i % 26)))")
  target=file-$((i % 3))
  : > $target
  printf '%s' "$size $byte" >> $target
  head -c $((size / 2)) /dev/zero | tr '\0' "$byte" >> $target
  head -c $((size - size / 2)) /dev/zero | tr '\0' "$byte" >> $target
  printf . >> $target
  [ $((i % 7)) -eq 0 ] && rm -f file-$((i % 3))
  [ $((i % 5)) -eq 0 ] && cp $target new && mv new renamed
done
exit 0
`;

function startWriter(directory: string): { stop(): Promise<void> } {
  writeFileSync(join(directory, "go"), "complete.");
  const child = spawn("sh", ["-c", script, "sh", directory, sizes.join(" ")], { stdio: "ignore" });
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  onTestFinished(() => void child.kill("SIGKILL"));
  return {
    stop: async () => {
      rmSync(join(directory, "go"), { force: true });
      await exited;
    },
  };
}

function isWhole(bytes: Buffer): boolean {
  const text = bytes.toString();
  if (text === "complete.") return true;
  const match = /^(\d+) ([a-z])(.*)\.$/s.exec(text);
  if (match === null) return false;
  const [, size = "", byte = "", body = ""] = match;
  return body === byte.repeat(Number(size));
}

/** @returns how many contents the manifests name. */
async function checkWhole(rig: PushRig): Promise<number> {
  await checkStore(rig.memory);
  const digests = new Set<string>();
  for (const ref of await listManifests(rig.memory)) {
    for (const entry of (await readManifest(rig.memory, ref)).entries) {
      if (entry.kind === "file") digests.add(entry.sha256);
    }
  }
  for (const sha256 of digests) {
    const bytes = await readBlob(rig.memory, sha256);
    expect(isWhole(bytes), bytes.subarray(0, 20).toString()).toBe(true);
  }
  return digests.size;
}

test("while another process writes in place, replaces and deletes, no part of a file is ever named", async () => {
  const rig = makePushRig();
  mkdirSync(rig.files);
  const writer = startWriter(rig.files);
  const pusher = await rig.open({ judge: judgeBySize(rig.files) });
  await expect
    .poll(
      async () => {
        for (let push = 0; push < 20; push += 1) await rig.push(pusher);
        return await checkWhole(rig);
      },
      { timeout: 60_000, interval: 1 },
    )
    .toBeGreaterThan(8);
  await writer.stop();
  rig.advance(10_000);
  await pusher.push({ place: () => rig.place, final: true });
  expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
  await checkWhole(rig);
}, 120_000);

/** What a row would say: the size of the whole file, whoever is writing it. */
function judgeBySize(files: string): Judge {
  return async (changes) =>
    changes.map(({ kind, path, size }) => {
      if (kind === "removed" || path === "files/go") return "complete";
      const said = Number(/^\d+/.exec(readStart(join(files, path.slice(6)))) ?? Number.NaN);
      return size === said + String(said).length + 3 ? "complete" : { wait: "half" };
    });
}

function readStart(path: string): string {
  try {
    return readFileSync(path).subarray(0, 12).toString();
  } catch {
    return "";
  }
}

describe("a file that changes between being read and being sent", () => {
  const large = Buffer.alloc(3_000_000, "a");

  test.each<[string, (path: string) => void]>([
    [
      "is overwritten with the same size",
      (path) => writeFileSync(path, Buffer.alloc(3_000_000, "b")),
    ],
    ["grows", (path) => writeFileSync(path, Buffer.alloc(3_000_001, "a"))],
    ["is cut", (path) => writeFileSync(path, Buffer.alloc(10, "a"))],
    ["is deleted", (path) => rmSync(path)],
  ])(
    "%s: nothing of it is stored, others are, and the next look has it right",
    async (_, mutate) => {
      const rig = makePushRig();
      mkdirSync(rig.files);
      const path = join(rig.files, "large");
      writeFileSync(path, large);
      writeFileSync(join(rig.files, "small"), "small");
      let isFirst = true;
      const store = new FaultyStore(rig.memory, ({ key, operation }) => {
        if (!isFirst || operation !== "put" || !key.startsWith("files/blobs/")) return undefined;
        // The small one is sent first.
        if (key.includes(smallDigest)) return undefined;
        isFirst = false;
        return { kind: "delay", wait: async () => mutate(path) };
      });
      const pusher = await rig.open({ store, uploadsMax: 1 });
      await rig.push(pusher);
      expect((await rig.newest())?.entries.map((entry) => entry.path)).toEqual([
        "files",
        "files/small",
      ]);
      expect(pusher.status().notes).toEqual([
        expect.objectContaining({ kind: "waiting", path: "files/large" }),
      ]);
      expect(await blobCount(rig)).toBe(1);
      await rig.push(pusher);
      expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
      await checkStore(rig.memory);
    },
  );

  test("is written to while it is sent from memory: the next look has it right", async () => {
    const rig = makePushRig();
    mkdirSync(rig.files);
    const path = join(rig.files, "small");
    writeFileSync(path, "small");
    const store = new StoreWithAftermath(rig.memory, () => writeFileSync(path, "other"));
    const pusher = await rig.open({ store });
    await rig.push(pusher);
    expect((await rig.newest())?.entries.map((entry) => entry.path)).toEqual(["files"]);
    expect(pusher.status().notes).toMatchObject([{ kind: "waiting", path: "files/small" }]);
    await rig.push(pusher);
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
    await checkStore(rig.memory);
  });

  test("counts as changing also for a store that calls every broken body a broken connection", async () => {
    const rig = makePushRig();
    mkdirSync(rig.files);
    const path = join(rig.files, "large");
    writeFileSync(path, large);
    const store = new RewordingStore(rig.memory, () => writeFileSync(path, "short"));
    const pusher = await rig.open({ store });
    await rig.push(pusher);
    expect(pusher.status()).toMatchObject({
      failure: undefined,
      notes: [{ kind: "waiting", path: "files/large" }],
    });
  });
});

class RewordingStore extends CountingStore {
  readonly #before: () => void;

  constructor(inner: ObjectStore, before: () => void) {
    super(inner);
    this.#before = before;
  }

  override async put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    if (key.startsWith("files/blobs/")) this.#before();
    await super.put(key, body, options).catch((cause: unknown) => {
      throw new ObjectStoreError("UNREACHABLE", "it broke", { operation: "put", key, cause });
    });
  }
}

/** Something happens once the first object is stored, before we hear that it is. */
class StoreWithAftermath extends CountingStore {
  #happen: (() => void) | undefined;

  constructor(inner: ObjectStore, happen: () => void) {
    super(inner);
    this.#happen = happen;
  }

  override async put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    await super.put(key, body, options);
    this.#happen?.();
    this.#happen = undefined;
  }
}

const smallDigest = digest(Buffer.from("small"));

async function blobCount(rig: PushRig): Promise<number> {
  let count = 0;
  for await (const page of rig.memory.list("files/blobs/")) count += page.length;
  return count;
}
