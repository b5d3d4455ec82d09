import { MemoryStore } from "@vaultwarden-stream/object-store";
import { expect, it } from "vitest";
import { type ChosenFiles, chooseFiles } from "./choose-files.ts";

const time = (minute: number): Date => new Date(Date.UTC(2026, 10, 27, 12, minute));
const digest = (content: string): string =>
  Buffer.from(content.padEnd(32, ".")).toString("hex").slice(0, 64);

/** A manifest as it lies in the store: its files by path, each with its size. */
interface Stored {
  readonly timeline: string;
  readonly sequence: number;
  readonly txid: string;
  readonly minute: number;
  readonly files: Readonly<Record<string, number>>;
}

async function storeOf(...manifests: readonly Stored[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const { timeline, sequence, txid, minute, files } of manifests) {
    const padded = txid.padStart(16, "0");
    const directories = new Set(
      Object.keys(files).flatMap((path) => {
        const parts = path.split("/");
        return parts.slice(1).map((_, depth) => parts.slice(0, depth + 1).join("/"));
      }),
    );
    const entries = [
      ...[...directories].map((path) => ({ kind: "directory", path, mode: 0o755 })),
      ...Object.entries(files).map(([path, size]) => ({
        kind: "file",
        path,
        mode: 0o644,
        mtimeMs: 0,
        size,
        sha256: digest(`${path} ${size}`),
      })),
    ].toSorted((a, b) => (a.path < b.path ? -1 : 1));
    const compact = time(minute).toISOString().replaceAll(/[-:.]/g, "");
    const number = String(sequence).padStart(8, "0");
    await store.put(
      `files/manifests/${timeline}/00000001-${number}-${padded}-${compact}.json`,
      new TextEncoder().encode(
        JSON.stringify({
          version: 1,
          timeline,
          epoch: 1,
          sequence,
          txid: padded,
          time: time(minute),
          entries,
        }),
      ),
    );
  }
  return store;
}

const roots = new Set(["attachments", "sends", "rsa_key.pem"]);
const pathsOf = ({ entries }: ChosenFiles): string[] =>
  entries.filter(({ kind }) => kind === "file").map(({ path }) => path);

const line = { timeline: "00000001-aaaaaaaa", sequence: 1, txid: "1", minute: 0 };
const lineage = [{ timeline: line.timeline }];

it("H7: takes the newest manifest that is not after the moment, so yesterday's restore has yesterday's files", async () => {
  const store = await storeOf(
    { ...line, files: { "attachments/c/a": 1, "rsa_key.pem": 9 } },
    { ...line, sequence: 2, txid: "2", minute: 10, files: { "rsa_key.pem": 9 } },
  );
  const rows = new Map([["attachments/c/a", 1]]);
  const then = await chooseFiles(store, { lineage, at: time(5), rows, roots });
  expect(pathsOf(then)).toEqual(["attachments/c/a", "rsa_key.pem"]);
  expect(then).toMatchObject({ missing: [], fromOthers: [], manifest: { sequence: 1 } });
  const now = await chooseFiles(store, { lineage, at: undefined, rows: new Map(), roots });
  expect(pathsOf(now)).toEqual(["rsa_key.pem"]);
});

it("weakness 8: a row whose file was stored later gets it from there, with its directory, and only with the row's size", async () => {
  const store = await storeOf(
    { ...line, files: { "rsa_key.pem": 9 } },
    {
      ...line,
      sequence: 2,
      txid: "2",
      minute: 10,
      files: { "attachments/c/a": 5, "attachments/c/b": 6 },
    },
    { ...line, sequence: 3, txid: "3", minute: 11, files: { "attachments/c/a": 7 } },
  );
  const rows = new Map([
    ["attachments/c/a", 7],
    ["attachments/c/b", 6],
    ["attachments/c/never", 1],
  ]);
  const chosen = await chooseFiles(store, { lineage, at: time(5), rows, roots });
  expect(chosen.manifest?.sequence).toBe(1);
  expect(chosen.fromOthers).toEqual(["attachments/c/a", "attachments/c/b"]);
  expect(chosen.missing).toEqual(["attachments/c/never"]);
  expect(chosen.entries.map(({ path }) => path)).toEqual([
    "attachments",
    "attachments/c",
    "attachments/c/a",
    "attachments/c/b",
    "rsa_key.pem",
  ]);
  expect(chosen.entries.find(({ path }) => path === "attachments/c/a")).toMatchObject({ size: 7 });
});

it("a file that was deleted before its row is taken from the manifest before", async () => {
  const store = await storeOf(
    { ...line, files: { "sends/s/f": 5 } },
    { ...line, sequence: 2, txid: "1", minute: 2, files: { "rsa_key.pem": 9 } },
  );
  const rows = new Map([["sends/s/f", 5]]);
  const chosen = await chooseFiles(store, { lineage, at: time(5), rows, roots });
  expect(chosen).toMatchObject({ manifest: { sequence: 2 }, missing: [] });
  expect(pathsOf(chosen)).toEqual(["rsa_key.pem", "sends/s/f"]);
});

it("a file of the manifest before is found however many manifests follow", async () => {
  const store = await storeOf(
    { ...line, files: { "sends/s/f": 5 } },
    ...Array.from({ length: 250 }, (_, index) => ({
      ...line,
      sequence: 2 + index,
      minute: 2 + index,
      files: { "rsa_key.pem": 9 },
    })),
  );
  const rows = new Map([["sends/s/f", 5]]);
  const chosen = await chooseFiles(store, { lineage, at: time(2), rows, roots });
  expect(chosen).toMatchObject({ manifest: { sequence: 2 }, missing: [] });
});

it("what an ancestor stored after the branch belongs to another line", async () => {
  const child = { ...line, timeline: "00000002-bbbbbbbb" };
  const store = await storeOf(
    { ...line, txid: "5", files: { "rsa_key.pem": 9 } },
    { ...line, sequence: 2, txid: "6", minute: 3, files: { "rsa_key.pem": 10 } },
  );
  const branch = [
    { timeline: child.timeline },
    { timeline: line.timeline, upToTxid: "0000000000000005" },
  ];
  const chosen = await chooseFiles(store, {
    lineage: branch,
    at: undefined,
    rows: new Map(),
    roots,
  });
  expect(chosen.manifest?.sequence).toBe(1);
});

it("without any manifest, every file of a row is missing, and only those of restored roots count", async () => {
  const rows = new Map([
    ["attachments/c/a", 1],
    ["icons/x", 1],
  ]);
  const chosen = await chooseFiles(new MemoryStore(), { lineage, at: undefined, rows, roots });
  expect(chosen).toMatchObject({
    manifest: undefined,
    entries: [],
    missing: ["attachments/c/a"],
  });
  expect(chosen.rows.size).toBe(1);
});

it("a manifest that cannot be read is an error, and no absence", async () => {
  const store = await storeOf({ ...line, files: {} });
  for await (const page of store.list("")) {
    for (const { key } of page) await store.put(key, new Uint8Array([1]));
  }
  await expect(
    chooseFiles(store, { lineage, at: undefined, rows: new Map(), roots }),
  ).rejects.toMatchObject({ code: "MANIFEST_INVALID" });
});
