import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  finishVaultSwap,
  forgetTreesAside,
  type SwapPoint,
  swapVault,
  treesAside,
  type VaultSwap,
} from "./vault-swap.ts";

let directory: string;
let database: string;
let swap: VaultSwap;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vault-swap-"));
  database = join(directory, "db.sqlite3");
  const tree = (name: string) => ({
    live: join(directory, name),
    incoming: join(directory, `${name}.incoming`),
    aside: join(directory, `${name}.aside-1`),
  });
  swap = {
    database: { incoming: `${database}.incoming`, aside: `${database}.aside-1` },
    trees: [tree("attachments"), { ...tree("config.json"), incoming: undefined }],
  };
  writeFileSync(database, "old database");
  writeFileSync(`${database}-wal`, "old wal");
  writeFileSync(swap.database.incoming, "new database");
  write("attachments/c1/a1", "old");
  write("attachments.incoming/c2/a2", "new");
  write("config.json", "old");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(path: string, content: string): void {
  mkdirSync(join(directory, path, ".."), { recursive: true });
  writeFileSync(join(directory, path), content);
}

const read = (path: string): string => readFileSync(join(directory, path), "utf8");
const names = (path = ""): string[] => readdirSync(join(directory, path)).toSorted();

function expectSwapped(): void {
  expect(readFileSync(database, "utf8")).toBe("new database");
  expect(existsSync(`${database}-wal`)).toBe(false);
  expect(names("attachments")).toEqual(["c2"]);
  expect(existsSync(join(directory, "config.json"))).toBe(false);
  expect(read("db.sqlite3.aside-1")).toBe("old database");
  expect(read("db.sqlite3.aside-1-wal")).toBe("old wal");
  expect(read("attachments.aside-1/c1/a1")).toBe("old");
  expect(read("config.json.aside-1")).toBe("old");
}

it("puts database and files in their place at once, and keeps what was there under names that an undo finds", async () => {
  await swapVault(database, swap);
  expectSwapped();
  expect(treesAside(swap.database.aside)).toEqual(JSON.parse(JSON.stringify(swap.trees)));
  expect(await finishVaultSwap(database)).toBeUndefined();

  const back: VaultSwap = {
    database: { incoming: swap.database.aside, aside: `${database}.aside-2` },
    trees: treesAside(swap.database.aside).map(({ live, aside }) => ({
      live,
      incoming: aside,
      aside: `${live}.aside-2`,
    })),
  };
  await swapVault(database, back);
  await forgetTreesAside(swap.database.aside);
  expect(readFileSync(database, "utf8")).toBe("old database");
  expect(read("attachments/c1/a1")).toBe("old");
  expect(read("config.json")).toBe("old");
  expect(treesAside(swap.database.aside)).toEqual([]);
});

describe("weakness 1, killed in the middle", () => {
  const points: SwapPoint[] = ["marker", "trees", "database", "record"];
  it.each(points)("at %s: the next start finishes it", async (killedAt) => {
    await expect(
      swapVault(database, swap, (point) => {
        if (point === killedAt) throw new Error("killed");
      }),
    ).rejects.toThrow("killed");
    const finished = await finishVaultSwap(database);
    expect(finished).toBe(killedAt === "record" ? undefined : swap.database.aside);
    expectSwapped();
    expect(await finishVaultSwap(database)).toBeUndefined();
    expectSwapped();
  });

  it("at each of two points, one after the other", async () => {
    await expect(
      swapVault(database, swap, (point) => {
        if (point === "trees") throw new Error("killed");
      }),
    ).rejects.toThrow("killed");
    await finishVaultSwap(database);
    expectSwapped();
  });
});

it("where a tree cannot be moved, nothing is, and there is nothing to finish", async () => {
  write("attachments.aside-1/in/the/way", "somebody's");
  await expect(swapVault(database, swap)).rejects.toMatchObject({ code: "ROOT_UNUSABLE" });
  expect(readFileSync(database, "utf8")).toBe("old database");
  expect(read("attachments/c1/a1")).toBe("old");
  expect(await finishVaultSwap(database)).toBeUndefined();
  expect(readFileSync(database, "utf8")).toBe("old database");
});

it("on an empty disk there is nothing to keep, and nothing is left behind", async () => {
  for (const path of ["db.sqlite3", "db.sqlite3-wal", "attachments", "config.json"]) {
    rmSync(join(directory, path), { recursive: true });
  }
  await swapVault(database, swap);
  expect(names()).toEqual(["attachments", "db.sqlite3"]);
});

it("a marker that cannot be read stops the start", async () => {
  writeFileSync(join(directory, ".db.sqlite3-restore.json"), '{"version":2}');
  await expect(finishVaultSwap(database)).rejects.toMatchObject({ code: "START_REFUSED" });
});
