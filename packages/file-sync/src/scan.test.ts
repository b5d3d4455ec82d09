import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "./push-testing.ts";
import { type RootScan, resolveExcluded, scanRoot } from "./scan.ts";
import type { SyncRoot } from "./sync-root.ts";

function directoryRoot(path: string): SyncRoot {
  return { name: "files", kind: "directory", path };
}

function scan(root: SyncRoot, exclude: ReadonlySet<string> = new Set()): Promise<RootScan> {
  return scanRoot(root, { exclude });
}

function seen({ sightings }: RootScan): string[] {
  return sightings.map(({ path }) => path).toSorted();
}

/** Runs as somebody whom modes apply to. */
async function asNobody<T>(run: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return await run();
  process.seteuid?.(65_534);
  try {
    return await run();
  } finally {
    process.seteuid?.(0);
  }
}

describe("a look", () => {
  test("sees directories and files with what is known of them, and opens none", async () => {
    const root = temporaryDirectory();
    mkdirSync(join(root, "empty"), { mode: 0o700 });
    writeFileSync(join(root, "a"), "12345", { mode: 0o640 });
    utimesSync(join(root, "a"), 1, 1.5);
    const { sightings, state, problems, unseen } = await scan(directoryRoot(root));
    expect({ state, problems, unseen }).toEqual({ state: "present", problems: [], unseen: [] });
    expect(sightings[0]).toMatchObject({ kind: "directory", path: "files" });
    expect(sightings).toContainEqual({ kind: "directory", path: "files/empty", mode: 0o700 });
    const identity = expect.objectContaining({ size: 5, mtimeNs: 1_500_000_000n });
    const location = join(root, "a");
    const file = { kind: "file", path: "files/a", location, mode: 0o640, identity };
    expect(sightings).toContainEqual(file);
  });

  test("names links, sockets and fifos, follows none, and goes on", async () => {
    const root = temporaryDirectory();
    symlinkSync("/", join(root, "link"));
    symlinkSync("nowhere", join(root, "dangling"));
    execFileSync("mkfifo", [join(root, "fifo")]);
    const server = createServer().listen(join(root, "socket"));
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    writeFileSync(join(root, "file"), "");
    const result = await scan(directoryRoot(root));
    expect(seen(result)).toEqual(["files", "files/file"]);
    expect(result.problems.map(({ path }) => path).toSorted()).toEqual([
      "files/dangling",
      "files/fifo",
      "files/link",
      "files/socket",
    ]);
    expect(result.problems.find(({ path }) => path === "files/link")?.reason).toContain("link");
  });

  test("names what is not UTF-8, with its bytes", async () => {
    const root = temporaryDirectory();
    writeFileSync(Buffer.concat([Buffer.from(`${root}/caf`), Buffer.from([0xe9])]), "");
    writeFileSync(join(root, "caf\ufffd"), "");
    const result = await scan(directoryRoot(root));
    expect(seen(result)).toEqual(["files", "files/caf\ufffd"]);
    expect(result.problems).toEqual([
      { kind: "problem", path: "files/caf\\xe9", reason: "its name is not UTF-8" },
    ]);
  });

  test("names a path that is too long, and sees the others", async () => {
    const root = temporaryDirectory();
    const script =
      'n=$(printf "d%.0s" $(seq 200)); for i in $(seq 22); do mkdir $n && cd -P $n; done';
    execFileSync("sh", ["-c", script], { cwd: root });
    onTestFinished(() => void execFileSync("rm", ["-rf", join(root, "d".repeat(200))]));
    writeFileSync(join(root, "file"), "");
    const result = await scan(directoryRoot(root));
    expect(seen(result)).toContain("files/file");
    expect(result.problems).toEqual([expect.objectContaining({ reason: "its path is too long" })]);
    expect(result.unseen).toEqual(result.problems.map(({ path }) => path));
  });

  test("an unreadable directory is unseen, which is not empty", async () => {
    const root = temporaryDirectory();
    chmodSync(root, 0o755);
    mkdirSync(join(root, "closed"));
    writeFileSync(join(root, "closed/file"), "");
    chmodSync(join(root, "closed"), 0o000);
    const result = await asNobody(() => scan(directoryRoot(root)));
    chmodSync(join(root, "closed"), 0o700);
    expect(result.state).toBe("present");
    expect(result.unseen).toEqual(["files/closed"]);
    expect(result.problems).toEqual([
      { kind: "problem", path: "files/closed", reason: "this process may not read it" },
    ]);
  });

  test("passes over what is excluded, also behind a link", async () => {
    const real = temporaryDirectory();
    mkdirSync(join(real, "tree/state"), { recursive: true });
    writeFileSync(join(real, "tree/state/x"), "");
    writeFileSync(join(real, "tree/file"), "");
    symlinkSync(join(real, "tree"), join(real, "link"));
    const exclude = await resolveExcluded([join(real, "link/state")]);
    const result = await scan(directoryRoot(join(real, "link")), exclude);
    expect(seen(result)).toEqual(["files", "files/file"]);
    expect(result.problems).toEqual([]);
    expect(result.unseen).toEqual(["files/state"]);
  });

  test("what vanishes while it looks is not there, and ends nothing", async () => {
    const root = temporaryDirectory();
    for (let index = 0; index < 40; index += 1) {
      mkdirSync(join(root, `${index}`));
      for (const name of ["a", "b", "c"]) writeFileSync(join(root, `${index}`, name), "");
    }
    const looks = Array.from({ length: 8 }, () => scan(directoryRoot(root)));
    for (let index = 0; index < 40; index += 1) {
      rmSync(join(root, `${index}`), { recursive: true });
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const { problems, unseen } of await Promise.all(looks)) {
      expect({ problems, unseen }).toEqual({ problems: [], unseen: [] });
    }
  });
});

describe("a root", () => {
  test("that is not there is missing", async () => {
    const root = directoryRoot(join(temporaryDirectory(), "absent"));
    expect(await scan(root)).toMatchObject({ state: "missing", sightings: [], problems: [] });
  });

  test("that may not be read is unseen, with the reason", async () => {
    const path = join(temporaryDirectory(), "closed");
    mkdirSync(join(path, "files"), { recursive: true });
    chmodSync(path, 0o000);
    const result = await asNobody(() => scan(directoryRoot(join(path, "files"))));
    chmodSync(path, 0o700);
    expect(result).toMatchObject({ state: "unseen", unseen: ["files"] });
    expect(result.problems).toHaveLength(1);
  });

  test.each(["directory", "file"] as const)("of another kind than %s is unseen", async (kind) => {
    const path = join(temporaryDirectory(), "root");
    if (kind === "directory") writeFileSync(path, "");
    else mkdirSync(path);
    const result = await scan({ name: "files", kind, path });
    expect(result).toMatchObject({ state: "unseen", unseen: ["files"] });
    expect(result.problems[0]?.reason).toContain(`is not a ${kind}`);
  });

  test("behind a link is followed, and knows which directory it is", async () => {
    const directory = temporaryDirectory();
    for (const name of ["one", "two"]) mkdirSync(join(directory, name));
    symlinkSync("one", join(directory, "link"));
    const root = directoryRoot(join(directory, "link"));
    const first = await scan(root);
    expect(first.identity).toEqual((await scan(directoryRoot(join(directory, "one")))).identity);
    symlinkSync("two", join(directory, "next"));
    renameSync(join(directory, "next"), join(directory, "link"));
    expect((await scan(root)).identity).not.toEqual(first.identity);
  });

  test("that is a file has one entry with the root's name", async () => {
    const path = join(temporaryDirectory(), "config.json");
    writeFileSync(path, "{}");
    const result = await scan({ name: "config", kind: "file", path });
    expect(result).toMatchObject({
      state: "present",
      sightings: [{ kind: "file", path: "config" }],
    });
  });
});
