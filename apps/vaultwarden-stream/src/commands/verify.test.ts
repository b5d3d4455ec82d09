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
import { openObjectStore } from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { identifyProcess } from "../daemon/process-identity.ts";
import { answerRepair, takeRequest } from "../daemon/repair-request.ts";
import { StatusFile } from "../daemon/status-file.ts";
import { exampleFiles, exampleStatus } from "../daemon/status-testing.ts";
import { drill } from "../drill/drill.ts";
import { includeAll, TestVault } from "../verify/test-vault.ts";
import { type CommandAnswer, runForTest } from "./command-testing.ts";
import { drillCommand } from "./drill.ts";
import { verifyCommand } from "./verify.ts";

let directory: string;
let vault: TestVault;
let store: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "verify-"));
  vault = new TestVault(directory);
  store = vault.store;
  await vault.start();
  await vault.attach({ one: "the first attachment", twin: "the first attachment" });
  await vault.attach({ two: "the second" });
  await vault.attach({ three: "the third" });
});
afterEach(async () => {
  await vault.stop();
  rmSync(directory, { recursive: true, force: true });
});

function verify(...words: readonly string[]): Promise<CommandAnswer> {
  return runForTest(verifyCommand, vault.environment, ...words);
}

async function report(...words: readonly string[]) {
  return JSON.parse((await verify("--json", ...words)).stdout);
}

function under(...parts: readonly string[]): string[] {
  return readdirSync(join(store, ...parts), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

const manifests = (): string[] => under("files", "manifests");
const blobOf = (content: string): string =>
  under("files", "blobs").find((path) => readFileSync(path, "utf8") === content) ?? "";
const keyOf = (path: string): string => path.slice(store.length + 1);

function flip(path: string, at = 0.5): void {
  const bytes = readFileSync(path);
  const { mtime } = statSync(path);
  const offset = Math.floor(at * (bytes.length - 1));
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset);
  writeFileSync(path, bytes);
  utimesSync(path, mtime, mtime);
}

/** As a daemon here would have it: this process. */
function writeStatus(changes: Parameters<StatusFile["update"]>[0] = {}): void {
  const { url, aliveUrl, syncAgeMsMax } = exampleStatus;
  const file = new StatusFile(
    {
      daemon: identifyProcess(process.pid),
      url,
      aliveUrl,
      syncAgeMsMax,
      database: vault.database,
      store,
    },
    (error) => {
      throw error;
    },
  );
  file.update(changes);
}

async function prove(): Promise<string> {
  const { key } = await drill({
    location: store,
    store: openObjectStore(store),
    include: includeAll,
    scratchParent: join(directory, "scratch"),
    liveDatabase: vault.database,
    confirmed: [],
    engine: "0",
    signal: new AbortController().signal,
  });
  return key ?? "";
}

describe("a sound store", () => {
  it("is proved, database and files of all states, exit 0", async () => {
    await prove();
    const { code, stdout, stderr } = await verify();
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(": sound");
    expect(stdout).toContain("trial restore: TXID");
    expect(stdout).toContain("files: sound");
    expect(stdout).toContain("restore drills: 1 proof, last proved");
    const json = await report();
    expect(json).toMatchObject({
      isSound: true,
      database: { isSound: true, restore: { outcome: "proved" } },
      // The twin has the same content; and the key.
      files: { found: 4, lost: 0, damaged: 0, uploading: 0, delayed: null, read: 4, bad: [] },
      proofs: { count: 1, bad: [] },
      repair: null,
    });
    expect(json.files.manifests).toHaveLength(3);
    expect(json.files.bytesRead).toBe(json.files.bytes);
  });

  it("says what is found, delayed, uploading and lost, of database and files", async () => {
    expect((await report("--quick")).database.timelines[0].segments).toMatchObject([
      { state: "found", minTxid: "0000000000000001", maxTxid: vault.txid },
      { state: "uploading", maxTxid: null },
    ]);
    // A writer that is gone: nobody has renewed its lease, by the store's clock, which for a directory is its own.
    writeStatus({ files: { ...exampleFiles, manifest: null, waiting: 2 } });
    mkdirSync(join(store, "files", "blobs", "ab"), { recursive: true });
    writeFileSync(join(store, "files", "blobs", "ab", `ab${"0".repeat(62)}`), "on its way");
    rmSync(blobOf("the second"));
    const { files } = await report("--quick");
    expect(files).toMatchObject({ found: 3, lost: 1, damaged: 0, uploading: 1, delayed: 2 });
    const levelZero = under("db", vault.timeline, "ltx", "0");
    rmSync(levelZero[1] ?? "");
    const { database } = await report("--quick");
    expect(database.timelines[0].segments).toMatchObject([
      { state: "found" },
      { state: "lost", minTxid: "0000000000000002", maxTxid: "0000000000000002" },
      { state: "found" },
      { state: "uploading" },
    ]);
  });

  it("is read in pieces of time, each run going on where the last one stopped", async () => {
    mkdirSync(join(vault.data, ".db.sqlite3-stream"));
    const read = new Set<number>();
    for (let run = 0; run < 20; run += 1) {
      const json = await report("--time-limit", "0.002s");
      expect(json.isSound).toBe(true);
      read.add(json.files.read + json.database.filesRead);
    }
    const place = JSON.parse(
      readFileSync(join(vault.data, ".db.sqlite3-stream", "verify.json"), "utf8"),
    );
    expect(Object.keys(place)).toEqual(["database", "files"]);
    expect(read.size).toBeGreaterThan(0);
  }, 60_000);
});

describe("of every kind of object of the vault's files, a byte that flipped and one that is gone are found", () => {
  type Kind = "newest manifest" | "older manifest" | "blob" | "pointer" | "proof" | "newest proof";
  const kinds: readonly [
    kind: Kind,
    find: () => string,
    /** Whether the newest state lacks something. */
    costs: "moments" | "newest" | "nothing",
  ][] = [
    ["newest manifest", () => manifests()[2] ?? "", "newest"],
    ["older manifest", () => manifests()[1] ?? "", "moments"],
    ["blob", () => blobOf("the second"), "newest"],
    ["pointer", () => join(store, "files", "current.json"), "nothing"],
    ["proof", () => under("proofs")[0] ?? "", "nothing"],
    ["newest proof", () => under("proofs")[1] ?? "", "nothing"],
  ];
  const damages: readonly [string, (path: string) => void][] = [
    ["flipped at its begin", (path) => flip(path, 0)],
    ["flipped in the middle", (path) => flip(path, 0.5)],
    ["flipped at its end", (path) => flip(path, 1)],
    ["gone", (path) => rmSync(path)],
  ];
  const cases = kinds.flatMap(([kind, find, costs]) =>
    damages.map(([how, damage]) => [kind, how, find, damage, costs] as const),
  );

  it.each(cases)("%s, %s", async (kind, _, find, damage, costs) => {
    await prove();
    const newest = await prove();
    // What the newest proof was, its own machine knows.
    writeStatus({
      drill: {
        intervalMs: 1,
        ageMsMax: null,
        outcome: "proved",
        endedAt: null,
        message: null,
        key: newest,
      },
    });
    const path = find();
    damage(path);
    const { code, stdout } = await verify();
    const json = await report();
    expect(code).toBe(4);
    const bad = [...json.files.bad, ...json.proofs.bad];
    expect(bad).toHaveLength(1);
    const [found] = bad;
    const isBlob = kind === "blob";
    expect(found.object).toBe(isBlob ? path.slice(-64) : keyOf(path));
    expect(stdout).toContain(`BAD ${isBlob ? "attachments/cipher/two" : keyOf(path)}`);
    if (costs === "nothing") {
      expect(found).toMatchObject({ costs: [], note: expect.stringMatching(/^nothing/) });
    } else {
      expect(found.costs).toMatchObject([
        { timeline: vault.timeline, to: costs === "newest" ? null : expect.any(String) },
      ]);
      expect(stdout).toContain("costs restores to moments from");
    }
    // The drill of the same night.
    if (costs === "newest") {
      const night = await runForTest(drillCommand, vault.environment, "--json");
      expect(night.code).toBe(4);
      expect(JSON.parse(night.stdout)).toMatchObject({ outcome: "failed" });
    }
  });

  it("has a test of every kind of object", () => {
    const kindOf = (path: string): string => keyOf(path).split("/").slice(0, 2).join("/");
    const own = new Set(under("files").map(kindOf));
    expect(own).toEqual(new Set(["files/blobs", "files/current.json", "files/manifests"]));
    expect(readdirSync(store).sort()).toEqual(["db", "epochs", "files"]);
  });
});

it("names every file that needs a bad content, and when", async () => {
  rmSync(vault.fileOf("twin"));
  await vault.push();
  flip(blobOf("the first attachment"));
  const { files } = await report();
  expect(files.bad).toMatchObject([
    {
      path: "attachments/cipher/one",
      paths: ["attachments/cipher/one", "attachments/cipher/twin"],
      why: "wrong-bytes",
      costs: [{ timeline: vault.timeline, to: null }],
    },
  ]);
  rmSync(vault.fileOf("one"));
  await vault.push();
  const [older] = (await report()).files.bad;
  expect(older.costs).toMatchObject([{ to: expect.any(String) }]);
});

it("names a damaged file of the database with what it costs, exit 4", async () => {
  await vault.stop();
  const path = under("db", vault.timeline, "ltx", "0")[1] ?? "";
  flip(path);
  const { code, stdout } = await verify();
  expect(code).toBe(4);
  expect(stdout).toMatch(
    /DAMAGED db\/\S+\/ltx\/0\/0000000000000002-0000000000000002\.ltx \(level 0\)/,
  );
  expect(stdout).toMatch(/costs everything after \S+ of timeline \S+, \d recovery points/);
  expect(await report()).toMatchObject({
    isSound: false,
    database: { problems: [{ kind: "damaged", minTxid: "0000000000000002" }, {}] },
  });
});

describe("a repair", () => {
  it("stores contents again whose files are still here, and nothing else", async () => {
    flip(blobOf("the first attachment"));
    rmSync(blobOf("the second"));
    rmSync(vault.fileOf("two"));
    const asked = await verify("--repair");
    expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining("--yes")]);
    const { code, stdout } = await verify("--repair", "--yes");
    expect(code).toBe(4);
    expect(stdout).toContain("repaired attachments/cipher/one: it is stored again");
    expect(stdout).toMatch(/not repaired [0-9a-f]{64}: .*two is not there any more/);
    writeFileSync(vault.fileOf("two"), "the second");
    expect((await verify("--repair", "--yes")).code).toBe(0);
    expect((await verify()).code).toBe(0);
  });

  it("has nothing to do where all is sound", async () => {
    expect(await report("--repair")).toMatchObject({ isSound: true, repair: null });
  });

  it("of the database asks the daemon that runs here, and says what it answered", async () => {
    writeStatus();
    flip(under("db", vault.timeline, "ltx", "0").at(-1) ?? "");
    const running = verify("--repair", "--yes", "--json");
    let id: string | undefined;
    await expect.poll(() => (id ??= takeRequest(vault.database))).toBeDefined();
    const txid = "0000000000000009";
    await answerRepair(vault.database, { id: id ?? "", txid, message: "proved", isProved: true });
    const { code, stdout } = await running;
    // The moments that are lost stay lost.
    expect(code).toBe(4);
    expect(JSON.parse(stdout).repair.snapshot).toMatchObject({ txid, isProved: true });
    expect(existsSync(join(vault.data, ".db.sqlite3-stream", "repair-answer.json"))).toBe(false);
  });

  it("of the database needs a daemon", async () => {
    flip(under("db", vault.timeline, "ltx", "0").at(-1) ?? "");
    const { code, stdout } = await verify("--repair", "--yes");
    expect(code).toBe(4);
    expect(stdout).toContain("no daemon runs on");
  });
});

it("ends with 3 where nothing is, and with 6 where the store does not answer", async () => {
  await vault.stop();
  rmSync(store, { recursive: true });
  mkdirSync(store);
  for (const command of [verifyCommand, drillCommand]) {
    const nothing = await runForTest(command, vault.environment);
    expect(nothing.code).toBe(3);
    expect(nothing.stderr.trimEnd().split("\n")).toHaveLength(3);
  }
  rmSync(store, { recursive: true });
  writeFileSync(store, "a file where the store should be");
  const away = await verify();
  expect(away.stderr.trimEnd().split("\n")).toHaveLength(3);
  expect(away.code).toBe(6);
  expect((await runForTest(drillCommand, vault.environment)).code).toBe(6);
}, 120_000);

it.each(["0/3", "4/3", "1", "x/y", "1/0"])("takes %s for no part of the data", async (text) => {
  const { code, stderr } = await verify("--read-data-subset", text);
  expect(code).toBe(2);
  expect(stderr).toContain("is not a part of the data");
});

it.each(["0", "soon", "5"])("takes %s for no length of time", async (text) => {
  const { code, stderr } = await verify("--time-limit", text);
  expect(code).toBe(2);
  expect(stderr).toContain("is not a length of time");
});
