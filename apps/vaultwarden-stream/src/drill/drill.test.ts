import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FaultyStore, openObjectStore } from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lastProven, parseTxid } from "wal-replicator";
import { includeAll, TestVault } from "../verify/test-vault.ts";
import { type DrillOptions, drill } from "./drill.ts";
import { decodeProof, encodeProof, type Proof } from "./proof.ts";
import { readProofs, writeProof } from "./proof-store.ts";

let directory: string;
let scratch: string;
let vault: TestVault;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "drill-"));
  scratch = join(directory, "scratch");
  vault = new TestVault(directory);
  await vault.start();
  await vault.attach({ one: "the first attachment", two: "the second" });
  await vault.commit("after the files");
});
afterEach(async () => {
  await vault.stop();
  rmSync(directory, { recursive: true, force: true });
});

function run(options: Partial<DrillOptions> = {}) {
  return drill({
    location: vault.store,
    store: openObjectStore(vault.store),
    include: includeAll,
    scratchParent: scratch,
    liveDatabase: vault.database,
    confirmed: [],
    engine: "0.0.0",
    signal: new AbortController().signal,
    ...options,
  });
}

const proofFiles = (): string[] => {
  const path = join(vault.store, "proofs");
  return existsSync(path) ? readdirSync(path).filter((name) => name.endsWith("Z.json")) : [];
};

function flip(path: string): void {
  const bytes = readFileSync(path);
  const { mtime } = statSync(path);
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
  writeFileSync(path, bytes);
  utimesSync(path, mtime, mtime);
}

function under(...parts: readonly string[]): string[] {
  const path = join(vault.store, ...parts);
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

describe("a drill of a sound vault", () => {
  it("restores, compares, leaves a proof of exactly that, and nothing else", async () => {
    const { proof, key } = await run();
    expect(proof).toMatchObject({
      outcome: "proved",
      reasons: [],
      timeline: vault.timeline,
      txid: vault.txid,
      database: { isRollingChecksumProved: true, damaged: [] },
      // Two attachments and the key.
      files: { total: 3, compared: 3, part: { n: 1, t: 1 }, comparedUpTo: null, missing: [] },
      previous: null,
    });
    expect(proof.files?.comparedBytes).toBe(proof.files?.totalBytes);
    expect(readdirSync(scratch)).toEqual([]);
    const stored = decodeProof(readFileSync(join(vault.store, key ?? "")));
    expect(stored).toEqual(proof);
    const store = openObjectStore(vault.store);
    expect(await lastProven({ store, prefix: "" })).toEqual({
      timeline: vault.timeline,
      txid: parseTxid(vault.txid),
      at: new Date(proof.endedAt),
    });
  });

  it("needs nothing but the store", async () => {
    await vault.stop();
    vault.removeData();
    expect((await run()).proof.outcome).toBe("proved");
  });

  it("compares a part at a time where there is more than the budget, and each content in a round", async () => {
    await vault.attach(
      Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`n${at}`, `file ${at}`.repeat(9)])),
    );
    const parts: Proof["files"][] = [];
    do parts.push((await run({ fileBytesMax: 130 })).proof.files);
    while (parts.at(-1)?.comparedUpTo !== null && parts.length < 20);
    expect(parts.map((part) => part?.part.n)).toEqual(parts.map((_, index) => index + 1));
    expect(parts.at(-1)?.part.t).toBe(parts.length);
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.reduce((sum, part) => sum + (part?.compared ?? 0), 0)).toBe(12);
    expect(parts.every((part) => (part?.comparedBytes ?? 0) <= 130)).toBe(true);
  });

  it("says what the database names and nobody ever stored, which is no fault of the store", async () => {
    vault.name("ghost", 7);
    await vault.flush();
    const { proof } = await run();
    expect(proof).toMatchObject({
      outcome: "proved",
      files: { compared: 3, missing: ["attachments/cipher/ghost"] },
    });
  });
});

describe("a drill fails, names it, and proves nothing", () => {
  const cases: [string, () => void, RegExp][] = [
    ["where the newest file of the database is damaged", () => flip(newestLtx()), /damaged/],
    ["where the newest file of the database is gone", () => rmSync(newestLtx()), /had been stored/],
    ["where the first file of the database is gone", () => rmSync(ltxFiles()[0] ?? ""), /TXID/],
    ["where a blob is gone", () => rmSync(blobOf("the second")), /two: missing/],
    [
      "where a blob has another byte",
      () => flip(blobOf("the second")),
      /two: .*another SHA-256|two: /,
    ],
    ["where the newest manifest is damaged", () => flip(newestManifest()), /cannot be used/],
    ["where the newest manifest is gone", () => rmSync(newestManifest()), /newest manifest/],
    [
      "where the epoch's record is gone",
      () => rmSync(under("epochs")[0] ?? ""),
      /epoch 1 is not there/,
    ],
    [
      "where the epoch's record is damaged",
      () => flip(under("epochs")[0] ?? ""),
      /epoch 1 is not what/,
    ],
  ];
  it.each(cases)("%s", async (_, damage, reason) => {
    // Twice, since a second state of the files makes the first no answer to the loss of the newest.
    await vault.attach({ three: "a third" });
    await vault.stop();
    damage();
    const { proof, key } = await run();
    expect(proof.outcome).toBe("failed");
    expect(proof.reasons.join("\n")).toMatch(reason);
    expect(key).not.toBeNull();
    const store = openObjectStore(vault.store);
    expect(await lastProven({ store, prefix: "" })).toBeUndefined();
    expect(readdirSync(scratch)).toEqual([]);
  });

  const ltxFiles = (): string[] => under("db", vault.timeline, "ltx", "0");
  const newestLtx = (): string => ltxFiles().at(-1) ?? "";
  const newestManifest = (): string => under("files", "manifests").at(-1) ?? "";
  const blobOf = (content: string): string =>
    under("files", "blobs").find((path) => readFileSync(path, "utf8") === content) ?? "";

  it.each([
    ["has other bytes than were fetched", (path: string) => writeFileSync(path, "the sec0nd")],
    ["is not there", (path: string) => rmSync(path)],
  ])("where a file on the disk %s", async (_, spoil) => {
    // The disk, or whoever writes on it: between the restore of a file and the look at it. Earlier, the restore would write over it.
    let spoilt = 0;
    const onProgress = (phase: string, bytesDone: number, bytesTotal: number): void => {
      if (phase !== "files" || bytesDone < bytesTotal) return;
      for (const entry of readdirSync(scratch, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || entry.name !== "two" || spoilt > 0) continue;
        spoil(join(entry.parentPath, entry.name));
        spoilt += 1;
      }
    };
    const { proof } = await run({ onProgress });
    expect(spoilt).toBe(1);
    expect(proof.outcome).not.toBe("proved");
    expect(proof.files?.compared ?? 0).toBeLessThan(3);
  });

  it("where what was proved once is not there any more, though nobody else says that it was", async () => {
    await run();
    await vault.commit("one more");
    await vault.stop();
    for (const path of under("epochs")) if (!path.endsWith("00000001.json")) rmSync(path);
    for (const path of ltxFiles().slice(-2)) rmSync(path);
    const { proof } = await run();
    expect(proof.outcome).toBe("failed");
    expect(proof.reasons[0]).toContain("had been stored");
  });

  it("where everything is gone, though it was proved once", async () => {
    await run();
    await vault.stop();
    rmSync(join(vault.store, "db"), { recursive: true });
    expect((await run()).proof).toMatchObject({ outcome: "failed", timeline: null });
  });
});

describe("a drill finds nothing out", () => {
  it("where the disk is too small, and says so before it writes anything", async () => {
    const { proof } = await run({ reserveBytes: Number.MAX_SAFE_INTEGER / 2 });
    expect(proof).toMatchObject({ outcome: "inconclusive", database: null, files: null });
    expect(proof.reasons[0]).toContain("are left to the vault");
    expect(readdirSync(scratch)).toEqual([]);
  });

  it("where the store does not answer, and then no proof is stored", async () => {
    const away = new FaultyStore(openObjectStore(vault.store), () => ({
      kind: "error-before",
      code: "UNREACHABLE",
    }));
    const { proof, key, cause } = await run({ store: away });
    expect(proof.outcome).toBe("inconclusive");
    expect([key, (cause as { code: string }).code]).toEqual([null, "UNREACHABLE"]);
    expect(proofFiles()).toEqual([]);
  });

  it("where the store goes away in the middle", async () => {
    const leaving = new FaultyStore(openObjectStore(vault.store), ({ key, operation }) =>
      operation === "get" && key.startsWith("files/blobs/")
        ? { kind: "error-before", code: "UNREACHABLE" }
        : undefined,
    );
    const { proof, key } = await run({ store: leaving });
    expect(proof).toMatchObject({ outcome: "inconclusive", txid: vault.txid, files: null });
    expect(key).not.toBeNull();
    expect(await lastProven({ store: openObjectStore(vault.store), prefix: "" })).toBeUndefined();
  });

  it.skipIf(process.getuid?.() !== 0 || process.platform !== "linux")(
    "where the disk is full before it is done (needs root, for a tmpfs)",
    async () => {
      await vault.commit(randomBytes(2_000_000).toString("hex"));
      mkdirSync(scratch);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", scratch]);
      try {
        // As on another machine, where nobody knows how large it is; and on one where somebody does.
        const unknown = { liveDatabase: join(directory, "none"), reserveBytes: 0 };
        for (const options of [unknown, { reserveBytes: 0 }]) {
          const { proof, key } = await run(options);
          expect(proof).toMatchObject({ outcome: "inconclusive", files: null });
          expect(proof.reasons.join()).toMatch(/cannot be written|are left to the vault/);
          expect(key).not.toBeNull();
          expect(readdirSync(scratch)).toEqual([]);
        }
      } finally {
        execFileSync("umount", [scratch]);
      }
    },
  );

  it("where there is no place for it", async () => {
    writeFileSync(scratch, "a file");
    expect((await run()).proof.outcome).toBe("inconclusive");
  });
});

it("that is interrupted leaves neither a proof nor a scratch directory", async () => {
  const asked = new AbortController();
  const running = run({
    signal: asked.signal,
    onProgress: () => asked.abort(new Error("asked to end")),
  });
  await expect(running).rejects.toThrow("asked to end");
  expect(proofFiles()).toEqual([]);
  expect(readdirSync(scratch)).toEqual([]);
});

it("removes what a killed one has left, and not what a living one uses", async () => {
  const [killed, living] = ["drill-999999999-1-abcdef", "drill-1--abcdef"];
  for (const name of [killed, living]) {
    mkdirSync(join(scratch, name), { recursive: true });
    writeFileSync(join(scratch, name, "db.sqlite3"), "secrets");
  }
  mkdirSync(join(scratch, "somebody else's"));
  await run();
  // Process 1 lives.
  expect(readdirSync(scratch).sort()).toEqual([living, "somebody else's"]);
});

it("that nothing was ever stored is no verdict", async () => {
  const location = join(directory, "empty");
  mkdirSync(location);
  const running = run({ location, store: openObjectStore(location) });
  await expect(running).rejects.toMatchObject({ code: "NOTHING_TO_RESTORE" });
});

describe("proofs", () => {
  it("are kept in a bounded number, and the newest that proved something always", async () => {
    const store = openObjectStore(vault.store);
    const { proof } = await run();
    for (let day = 1; day <= 100; day += 1) {
      const endedAt = new Date(Date.parse(proof.endedAt) + day * 86_400_000).toISOString();
      await writeProof(store, { ...proof, outcome: "failed", endedAt }, await readProofs(store));
    }
    const { keys, newest, lastProved } = await readProofs(store);
    expect(keys).toHaveLength(90);
    expect(lastProved?.proof).toEqual(proof);
    expect(newest?.key).toBe(keys.at(-1));
  }, 120_000);

  it("with any byte changed are none", async () => {
    const { proof } = await run();
    const bytes = encodeProof(proof);
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = bytes.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(decodeProof(changed)).toBeUndefined();
    }
  });

  it("that cannot be removed do not keep a new one from being stored", async () => {
    const inner = openObjectStore(vault.store);
    const store = new FaultyStore(inner, ({ operation }) =>
      operation === "delete" ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
    );
    const { proof } = await run();
    const keys = Array.from({ length: 120 }, (_, index) => `proofs/${index}.json`);
    const history = { keys, newest: undefined, lastProved: undefined };
    expect(await writeProof(store, proof, history)).toContain("proofs/");
  });
});
