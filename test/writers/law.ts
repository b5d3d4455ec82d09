import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openObjectStore } from "@vaultwarden-stream/object-store";
import Database from "better-sqlite3";
import { listReplica, type ReplicaListing, restore, type TimelineListing } from "wal-replicator";
import { findDestruction } from "../support/destruction.ts";
import { readLabels } from "./row-database.ts";
import type { Stage } from "./stage.ts";

/** What a replica holds when all is over: the listing, and the labels that each timeline restores. */
export interface Aftermath {
  readonly listing: ReplicaListing;
  readonly labels: ReadonlyMap<string, readonly string[]>;
}

/**
 * The law of two writers, held against the store once nobody writes any more (`host.end` first):
 *
 * - every row that was acknowledged on a timeline is in what that timeline restores;
 * - each timeline restores a state that some host's database was in: no two lines are blended;
 * - a timeline's files carry the nonce of one epoch after another, never two at a time;
 * - no object was overwritten with other bytes, and none deleted, but leases and the scratch keys of a probe.
 *
 * It does not check that both sides said what happened: their events are the tests' own.
 *
 * @throws {Error} with all violations.
 */
export async function checkLaw({ store, hosts, isExclusive }: Stage): Promise<Aftermath> {
  const violations: string[] = [];
  for (const host of hosts) host.noteLine();
  const { replica } = store;
  const listing = await listReplica({ replica });
  const labels = new Map<string, readonly string[]>();
  for (const listed of listing.timelines) {
    const { timeline } = listed;
    try {
      labels.set(timeline, await restoreLabels(replica, timeline));
    } catch (error) {
      violations.push(`${describeTimeline(listed)} does not restore: ${String(error)}`);
    }
  }
  for (const host of hosts) {
    for (const { label, timeline } of host.acknowledged) {
      if (labels.get(timeline)?.includes(label) === true) continue;
      violations.push(`${label} was acknowledged on timeline ${timeline}, which lacks it`);
    }
  }
  const lines = hosts.flatMap((host) => host.lines);
  for (const [timeline, restored] of labels) {
    if (lines.some((line) => isBeginning(restored, line))) continue;
    violations.push(
      `timeline ${timeline} restores what no host ever held: ${restored.slice(-20).join(" ")}`,
    );
  }
  violations.push(...(await findMixedNonces(replica, listing)));
  if (store.server !== undefined) {
    const destroyed = findDestruction(await store.server.requests());
    // Where two are told that they created it, the plain number is a hint; each record is kept under its own nonce.
    const isHint = (text: string): boolean =>
      !isExclusive && /epochs\/[0-9]{8}\.json was/.test(text);
    violations.push(...destroyed.filter((text) => !isHint(text)));
  }
  if (violations.length > 0) throw new Error(violations.join("\n"));
  return { listing, labels };
}

/** What the newest state of a timeline holds, in the order of the commits. */
export async function restoreLabels(replica: string, timeline?: string): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), "restored-"));
  try {
    const target = join(directory, "restored.db");
    await restore({ replica, target, ...(timeline === undefined ? {} : { timeline }) });
    const database = new Database(target);
    try {
      return readLabels(database);
    } finally {
      database.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function describeTimeline({ timeline, role, parent, files }: TimelineListing): string {
  const ranges = files.map(({ level, minTxid, maxTxid }) => `${level}:${minTxid}-${maxTxid}`);
  const from = parent === null ? "nothing" : `${parent.timeline} at ${parent.txid}`;
  return `timeline ${timeline} (${role}, from ${from}; files ${ranges.slice(0, 5).join(" ")} … ${ranges.slice(-5).join(" ")})`;
}

function isBeginning(part: readonly string[], line: readonly string[]): boolean {
  return part.length <= line.length && part.every((label, index) => label === line[index]);
}

async function findMixedNonces(replica: string, { timelines }: ReplicaListing): Promise<string[]> {
  const store = openObjectStore(replica);
  const violations: string[] = [];
  for (const { timeline, files } of timelines) {
    const seen = new Set<string>();
    let current: string | undefined;
    for (const { key, level } of files) {
      if (level !== 0) continue;
      const nonce = (await store.head(key)).metadata?.["epoch-nonce"] ?? "";
      if (nonce !== current && seen.has(nonce)) {
        violations.push(
          `timeline ${timeline}: epoch ${nonce} writes on behind ${current} (${key})`,
        );
      }
      current = nonce;
      seen.add(nonce);
    }
  }
  return violations;
}
