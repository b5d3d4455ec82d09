import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { listReplica } from "../list-replica.ts";
import { formatFileName } from "../ltx/file-name.ts";
import { mergeLtx } from "../ltx/merge.ts";
import { toTxid } from "../ltx/txid.ts";
import { replicate } from "../replicate.ts";
import type { ReplicaVerification } from "./verification.ts";
import { verifyReplica } from "./verify-replica.ts";

// Each kind of object that the engine stores, with a byte flipped and removed: one verification names it and says what it costs. The replica is
// real: a stream of twelve commits, of which maintenance has merged some, so that each level has a file that nothing else makes up for.

let template: string;
let timeline: string;
let directory: string;
let replica: string;

beforeAll(async () => {
  template = mkdtempSync(join(tmpdir(), "verify-every-"));
  const store = join(template, "store");
  mkdirSync(store);
  const database = join(template, "db");
  const db = new BetterSqlite3(database);
  db.pragma("journal_mode = WAL");
  db.exec("create table rows (text)");
  const replication = await replicate({
    database,
    replica: store,
    home: "in-process",
    Database: BetterSqlite3,
  });
  let { txid } = await replication.flush();
  while (txid < 12n) {
    db.prepare("insert into rows values (?)").run(`row ${txid}`.repeat(200));
    ({ timeline, txid } = await replication.flush());
  }
  db.close();
  await replication.stop({ applicationEnded: true });
  const level = (number: number): string => join(store, timeline, "ltx", String(number));
  const name = (min: number, max: number): string =>
    formatFileName({ minTxid: toTxid(min), maxTxid: toTxid(max) });
  const merge = async (to: number, min: number, max: number): Promise<void> => {
    const sources = Array.from({ length: max - min + 1 }, (_, index) =>
      join(level(0), name(min + index, min + index)),
    );
    const inputs = sources.map((path) => ({ source: [readFileSync(path)] }));
    const pieces: Uint8Array[] = [];
    for await (const piece of mergeLtx(inputs.map(({ source }) => ({ source: each(source) })))) {
      pieces.push(piece.slice());
    }
    mkdirSync(level(to), { recursive: true });
    const path = join(level(to), name(min, max));
    writeFileSync(path, Buffer.concat(pieces));
    const { mtime } = statSync(sources.at(-1) ?? "");
    utimesSync(path, mtime, mtime);
  };
  await merge(9, 1, 9);
  await merge(3, 2, 3);
  await merge(2, 4, 5);
  await merge(1, 6, 7);
  await merge(1, 8, 9);
  for (let number = 2; number <= 7; number += 1) rmSync(join(level(0), name(number, number)));
  // As if seven of them were of two hours ago, of which level 0 does not keep each.
  for (const number of [0, 1, 2, 3]) {
    for (const file of readdirSync(level(number)).filter((one) => one.endsWith(".ltx"))) {
      const max = Number.parseInt(file.slice(17, 33), 16);
      const at = new Date(Date.now() - 2 * 3_600_000 + max * 1_000);
      if (max <= 7) utimesSync(join(level(number), file), at, at);
    }
  }
});
afterAll(() => rmSync(template, { recursive: true, force: true }));

async function* each(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "verify-one-"));
  replica = join(directory, "store");
  await cp(join(template, "store"), replica, { recursive: true, preserveTimestamps: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function verify(): Promise<ReplicaVerification> {
  return verifyReplica({ replica, temporaryDirectory: directory });
}

/** TXIDs that can be restored. */
async function restorable(): Promise<readonly bigint[]> {
  const { timelines } = await listReplica({ replica });
  return timelines.flatMap(({ recoveryPoints }) => recoveryPoints.map(({ txid }) => txid));
}

const hex = (value: number): string => value.toString(16).padStart(16, "0");
const ltx = (level: number, min: number, max = min): string =>
  `<timeline>/ltx/${level}/${hex(min)}-${hex(max)}.ltx`;

/** `from`, `to` by TXID: what cannot be restored lies between them. Null: nothing before, nothing after. */
type Cost = readonly [from: number | null, to: number | null];

const kinds: readonly {
  readonly kind: string;
  readonly key: string;
  /** What the flip costs, and the removal. "nothing": it is named, and costs no instant. "no trace": nothing tells that it was there. */
  readonly flipped: Cost | "nothing" | "all";
  readonly removed: Cost | "nothing" | "all" | "no trace";
  /** The newest state does not restore. */
  readonly breaksNewest?: true;
  /** TXIDs that are named instead of the object's own. */
  readonly namedAs?: readonly [bigint, bigint];
}[] = [
  // What it was a snapshot of, nobody knows; what followed it is named.
  {
    kind: "level 0, the first",
    key: ltx(0, 1),
    flipped: [null, 9],
    removed: [null, 9],
    namedAs: [2n, 8n],
  },
  {
    kind: "level 0, in the middle",
    key: ltx(0, 10),
    flipped: [9, null],
    removed: [9, null],
    breaksNewest: true,
  },
  {
    kind: "level 0, the last",
    key: ltx(0, 12),
    flipped: [11, null],
    removed: [11, null],
    breaksNewest: true,
  },
  { kind: "level 0, merged too", key: ltx(0, 9), flipped: "nothing", removed: "nothing" },
  { kind: "level 1", key: ltx(1, 6, 7), flipped: [5, 9], removed: [5, 9] },
  {
    kind: "level 1, the newest, of which level 0 has all",
    key: ltx(1, 8, 9),
    flipped: "nothing",
    removed: "no trace",
  },
  { kind: "level 2", key: ltx(2, 4, 5), flipped: [3, 9], removed: [3, 9] },
  { kind: "level 3", key: ltx(3, 2, 3), flipped: [1, 9], removed: [1, 9] },
  {
    kind: "a snapshot that the increments make up for",
    key: ltx(9, 1, 9),
    flipped: "nothing",
    removed: "no trace",
  },
  {
    kind: "an epoch's record",
    key: "epochs/00000001.json",
    flipped: "all",
    removed: "all",
    breaksNewest: true,
  },
  // Of an epoch that lived for less than a renewal, as here: see plan-epoch-audit.test.ts for the others.
  {
    kind: "an epoch's lease",
    key: "epochs/00000001.lease.json",
    flipped: "nothing",
    removed: "no trace",
  },
  {
    kind: "an epoch's release",
    key: "epochs/00000001.released.json",
    flipped: "nothing",
    removed: "nothing",
  },
];

it("the replica is sound as it is", async () => {
  const { isSound, problems } = await verify();
  expect(problems).toEqual([]);
  expect(isSound).toBe(true);
  expect(await restorable()).toEqual([1n, 3n, 5n, 7n, 8n, 9n, 10n, 11n, 12n]);
});

describe.each(kinds)("$kind", ({ key, flipped, removed, breaksNewest, namedAs }) => {
  const offsets = [0, 0.3, 0.5, 0.8, 1];
  it.each(offsets)("with a byte flipped at %d of it is named, with what that costs", async (at) => {
    const path = join(replica, key.replace("<timeline>", timeline));
    const bytes = readFileSync(path);
    const offset = Math.floor(at * (bytes.length - 1));
    bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset);
    const { mtime } = statSync(path);
    writeFileSync(path, bytes);
    utimesSync(path, mtime, mtime);
    const points = await pointsOf();
    await expectFinding("damaged", key, flipped, points);
  });

  it("removed is missed, with what that costs", async () => {
    const points = await pointsOf();
    const before = await restorable();
    rmSync(join(replica, key.replace("<timeline>", timeline)));
    if (removed !== "no trace") return await expectFinding("lost", key, removed, points);
    expect(await verify()).toMatchObject({ isSound: true, problems: [] });
    expect(await restorable()).toEqual(before);
  });

  /** When each TXID was the newest, of the replica as it was. */
  async function pointsOf(): Promise<ReadonlyMap<number, Date>> {
    const { timelines } = await listReplica({ replica: join(template, "store") });
    const points = timelines[0]?.recoveryPoints ?? [];
    return new Map(points.map(({ txid, at }) => [Number(txid), at]));
  }

  async function expectFinding(
    kind: "damaged" | "lost",
    named: string,
    costs: Cost | "nothing" | "all" | "no trace",
    points: ReadonlyMap<number, Date>,
  ): Promise<void> {
    const { isSound, problems, restore } = await verify();
    expect(isSound).toBe(false);
    const [problem] = problems.filter((one) => one.kind !== "not-restored");
    expect(problem).toMatchObject({ kind });
    // A hole among files has no name; its TXIDs are said.
    if (named.startsWith("epochs/") || kind === "damaged") {
      expect(problem?.key).toBe(named.replace("<timeline>", timeline));
    } else {
      const [min, max] = named.split("/").at(-1)?.slice(0, -4).split("-") ?? [];
      const own = [BigInt(`0x${min}`), BigInt(`0x${max}`)];
      expect([problem?.minTxid, problem?.maxTxid]).toEqual(namedAs ?? own);
    }
    if (costs === "nothing") {
      expect(problem).toMatchObject({ costs: [], note: expect.stringMatching(/^no/) });
    } else if (typeof costs !== "string") {
      const at = (txid: number | null) => (txid === null ? null : points.get(txid));
      expect(problem).toMatchObject({ note: null });
      expect(problem?.costs).toMatchObject([{ timeline, from: at(costs[0]), to: at(costs[1]) }]);
    } else {
      expect(problem?.costs).toMatchObject([{ timeline, from: null, to: null, pointCount: 9 }]);
    }
    if (breaksNewest !== true) expect(restore).toMatchObject({ outcome: "proved", txid: 12n });
    else expect(restore?.outcome === "proved" && restore.txid === 12n).toBe(false);
  }
});

it("has a test of every kind of object in the replica", () => {
  const keys = readdirSync(join(template, "store"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(template.length + "/store/".length))
    .filter((key) => !key.includes("/."))
    .map((key) => key.replace(/[0-9a-f]{8}-[0-9a-f]{8}/, "<timeline>"));
  const kindOf = (key: string): string => (key.includes("/ltx/") ? dirname(key) : key);
  expect(new Set(kinds.map(({ key }) => kindOf(key)))).toEqual(new Set(keys.map(kindOf)));
});
