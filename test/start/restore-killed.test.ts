/** A restore into place that is killed at any of its steps: there is never half a database, and the next start ends what was begun. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { startTypeScriptChild } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import { listAside } from "wal-replicator";
import { type Host, Place, rowsOf } from "./place.ts";

const entry = fileURLToPath(new URL("./restore-killed-main.ts", import.meta.url));

/** @returns whether it was killed; false: it had fewer steps. */
async function prepareKilled(
  place: Place,
  host: Host,
  nth: number,
  because: readonly string[],
): Promise<boolean> {
  const exit = await startTypeScriptChild(entry, {
    arguments: [host.database, place.replica, String(nth), ...because],
  }).exited;
  if (exit.signal === null) expect(exit).toMatchObject({ code: 0, stderr: "" });
  return exit.signal === "SIGKILL";
}

/** The store is at `new`; the host has an old volume. */
async function makeBehind(place: Place): Promise<void> {
  const host = place.host("a");
  host.write("old");
  await (await host.stream()).stop({ applicationEnded: true });
  const old = host.copyTo("saved");
  const later = await host.stream();
  host.write("new");
  await later.stop({ applicationEnded: true });
  host.bringBack(old, { keepsIdentity: true });
}

async function leavesOneOrTheOther(place: Place, host: Host, isReplaced: boolean): Promise<void> {
  const { outcome } = await host.prepare();
  const rows = host.rows();
  if (outcome === "restored") expect(isReplaced).toBe(false);
  else expect([["old"], ["old", "new"]]).toContainEqual(rows);
  if (rows.length === 1) await host.prepare({ restoreBecause: "it is behind" });
  expect(host.rows()).toEqual(["old", "new"]);
  const asides = listAside(host.database)
    .map(rowsOf)
    .map((rows) => rows.at(-1));
  expect(asides).toEqual(isReplaced ? ["old"] : []);
  expect(readdirSync(host.directory).filter((name) => name.includes("incoming"))).toEqual([]);
  const stream = await host.stream();
  host.write("newer");
  await stream.stop();
  expect(await place.rows()).toEqual(["old", "new", "newer"]);
}

it.concurrent.each([
  ["over an old one", ["it is behind"]],
  ["where there is none", []],
] as const)("%s: killed behind each rename", async (_, because) => {
  const isReplaced = because.length > 0;
  await using template = new Place();
  await makeBehind(template);
  let killCount = 0;
  for (let nth = 1; ; nth += 1) {
    await using place = template.copy();
    const host = place.host("a");
    if (!isReplaced) host.deleteDatabase();
    if (!(await prepareKilled(place, host, nth, because))) break;
    killCount += 1;
    await leavesOneOrTheOther(place, host, isReplaced);
  }
  // The restored file, its state, its checksums; two markers, three parts each way.
  expect(killCount).toBeGreaterThanOrEqual(11);
});
