/** `wal-replicator restore --follow` as people and scripts call it: a real process, real signals, no terminal. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { type RunningChild, startTypeScriptChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestSource } from "wal-replicator/internals";

const main = fileURLToPath(new URL("../../packages/wal-replicator/src/main.ts", import.meta.url));

let directory: string;
let replica: string;
let copy: string;
let source: TestSource;
const running = new Set<RunningChild>();

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "follow-cli-"));
  replica = join(directory, "replica");
  copy = join(directory, "copy.db");
  source = new TestSource(new DirectoryStore(replica), directory);
  await source.begin();
  await source.shipMany(2);
});

afterEach(() => {
  for (const child of running) child.process.kill("SIGKILL");
  running.clear();
  source.database.close();
  rmSync(directory, { recursive: true, force: true });
});

function start(...args: string[]): RunningChild {
  const child = startTypeScriptChild(main, {
    arguments: ["restore", replica, "-o", copy, ...args],
  });
  running.add(child);
  return child;
}

async function says(child: RunningChild, text: string): Promise<void> {
  await expect.poll(() => child.stderr()).toContain(text);
}

describe("restore --follow", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "follows until %s, says what it applies, and goes on the next time",
    async (signal) => {
      const first = start("--follow");
      await says(first, "following");
      await source.shipMany(1);
      await says(first, "applied");
      first.process.kill(signal);
      const end = await first.exited;
      expect(end.code).toBe(0);
      expect(end.stdout).toMatch(
        /^followed into \S+: timeline \S+, TXID 0000000000000003, the state of \S+; the file is what a restore gives\n$/,
      );
      const image = await source.shipMany(1);
      const second = start("--follow", "--json");
      await says(second, "0000000000000004");
      second.process.kill(signal);
      const { code, stdout, stderr } = await second.exited;
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toEqual({
        followed: true,
        output: copy,
        timeline: source.timeline,
        txid: "0000000000000004",
        at: expect.stringMatching(/Z$/),
        rollingChecksum: expect.stringMatching(/^[0-9a-f]{16}$/),
        verbatim: true,
      });
      // Each line of stderr is an object, and an event that has one says what it is.
      const types = stderr
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).event?.type);
      expect(types).toEqual(expect.arrayContaining(["copy-opened", "applied"]));
      expect(Buffer.compare(readFileSync(copy), image)).toBe(0);
    },
  );

  it("leaves a file that it did not make as it is, but with --force", async () => {
    writeFileSync(copy, "my thesis");
    const refused = await start("--follow").exited;
    expect(refused.code).toBe(2);
    expect(readFileSync(copy, "utf8")).toBe("my thesis");
    const forced = start("--follow", "--force");
    await says(forced, "following");
    forced.process.kill("SIGTERM");
    expect((await forced.exited).code).toBe(0);
  });

  it("says with three lines why it cannot begin, with the exit codes of a restore", async () => {
    rmSync(replica, { recursive: true });
    const nothing = await start("--follow").exited;
    expect({ code: nothing.code, lines: nothing.stderr.trimEnd().split("\n").length }).toEqual({
      code: 3,
      lines: 4, // what it begins, and the three
    });
    expect(nothing.stderr).toContain("NOTHING_TO_RESTORE");
    expect((await start("--follow", "--if-replica-exists").exited).code).toBe(0);
    const conflict = await start("--follow", "--txid", "2").exited;
    expect(conflict.code).toBe(2);
    expect(conflict.stderr).toContain("--follow and --txid were both given");
  });

  it("is in the help", async () => {
    const { code, stdout } = await start("--help").exited;
    expect(code).toBe(0);
    expect(stdout).toContain("--follow");
  });

  it("one copy has one follower: exit code 5", async () => {
    const first = start("--follow");
    await says(first, "following");
    const second = await start("--follow").exited;
    expect(second.code).toBe(5);
    expect(second.stderr).toContain("COPY_IN_USE");
    expect(first.process.exitCode).toBeNull();
  });
});
