import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { killIfRunning, Site, until, untilFilesStored, untilStored } from "./daemon-harness.ts";

const keysOf = (site: Site): string[] =>
  existsSync(join(site.store, "proofs"))
    ? readdirSync(join(site.store, "proofs")).filter((name) => name.endsWith(".json"))
    : [];

function flip(path: string): void {
  const bytes = readFileSync(path);
  const { mtime } = statSync(path);
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
  writeFileSync(path, bytes);
  utimesSync(path, mtime, mtime);
}

/** What the timeline begins with: every restore needs it until there is a snapshot, and no merged file holds it. */
function firstFile(site: Site, volume: string): string {
  const directory = join(site.store, "db", site.status(volume)?.timeline ?? "", "ltx", "0");
  const [name = ""] = readdirSync(directory)
    .filter((name) => /^[0-9a-f].*\.ltx$/.test(name))
    .sort();
  return join(directory, name);
}

it("a running vault is drilled beside its live data, and the proof is in store and status, also after a restart", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  const client = await daemon.register();
  const item = await client.createItem({ name: "house" });
  await client.uploadAttachment(item, "deed.pdf", randomBytes(40_000));
  await untilStored(site, "a");
  await untilFilesStored(site, "a");
  const drilled = await site.command("a", "drill", "--json");
  expect([drilled.code, drilled.stderr]).toEqual([0, ""]);
  const proof = JSON.parse(drilled.stdout) as Record<string, unknown>;
  expect(proof).toMatchObject({
    outcome: "proved",
    database: { isRollingChecksumProved: true },
    files: { total: 2, compared: 2, missing: [] },
  });
  expect(keysOf(site)).toHaveLength(1);
  expect((await daemon.end()).code).toBe(0);

  const again = await site.run("a");
  await again.ready();
  await until("the status knows the proof of before", () => {
    const status = site.status("a") as unknown as Record<string, unknown> | undefined;
    return status?.["lastProvenRestore"] === proof["endedAt"];
  });
  const said = await site.command("a", "status");
  expect(said.stdout).toMatch(/restore proof: +last proven .* ago, at 20/);
  // Nothing is drilled because it was started.
  expect(keysOf(site)).toHaveLength(1);
  expect((await again.end()).code).toBe(0);
});

it("a damaged database is repaired by `verify --repair`: the daemon stores a new copy of it, and proves that", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  const client = await daemon.register();
  await client.createItem({ name: "house" });
  await untilStored(site, "a");
  await untilFilesStored(site, "a");
  flip(firstFile(site, "a"));
  expect((await site.command("a", "drill")).code).toBe(4);

  const repaired = await site.command("a", "verify", "--repair", "--yes", "--json");
  const { repair } = JSON.parse(repaired.stdout) as {
    repair: { snapshot: { txid: string; isProved: boolean } };
  };
  expect(repair.snapshot, daemon.stderr).toMatchObject({ isProved: true });
  // What was lost is lost, and it says so; the newest state is whole.
  expect(repaired.code).toBe(4);
  expect((await site.command("a", "drill")).code).toBe(0);
  expect((await daemon.end()).code).toBe(0);
});

it("a drill that is killed leaves no secret behind for longer than until the next one", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  await (await daemon.register()).createItem({ name: "house" });
  await untilStored(site, "a");
  await untilFilesStored(site, "a");
  expect((await daemon.end()).code).toBe(0);

  const scratch = site.path("scratch");
  mkdirSync(scratch);
  for (let kills = 0, attempts = 0; kills < 3; attempts += 1) {
    expect(attempts).toBeLessThan(20);
    const drill = site.command("a", "drill", "--scratch", scratch);
    const pid = await untilRestoring(scratch, drill);
    if (pid === undefined) continue;
    killIfRunning(pid);
    expect((await drill).signal).toBe("SIGKILL");
    expect(readdirSync(scratch)).toHaveLength(1);
    kills += 1;
  }
  expect(keysOf(site)).toEqual([]);
  expect((await site.command("a", "drill", "--scratch", scratch)).code).toBe(0);
  expect(readdirSync(scratch)).toEqual([]);
  rmSync(scratch, { recursive: true });
});

/** @returns the process that has begun to write a database there; undefined: it was too fast. */
async function untilRestoring(
  scratch: string,
  ended: Promise<unknown>,
): Promise<number | undefined> {
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  while (!isOver) {
    for (const name of readdirSync(scratch)) {
      const pid = Number(/^drill-(\d+)-/.exec(name)?.[1]);
      // A leftover of an earlier one is that of a process that is gone.
      if (existsSync(`/proc/${pid}`) && readdirSync(join(scratch, name)).length > 0) return pid;
    }
    await sleep(1);
  }
  return undefined;
}
