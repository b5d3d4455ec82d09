import { join } from "node:path";
import {
  type ConditionalWritesVerdict,
  type ObjectStore,
  probeConditionalWrites,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import { readIfExists, writeWhole } from "../durable-file.ts";
import type { StoreProbedEvent } from "../events.ts";
import type { EpochMode } from "../replica/epoch.ts";

/**
 * How far the store keeps two writers apart (architecture.md D8): it is tried, not believed. The verdict is kept in the spool, for this
 * one location, so that only the first start of an installation pays for the probe. No verdict is kept for none: it is asked for again.
 */
export async function decideEpochMode(
  store: ObjectStore,
  spoolDirectory: string,
  onProbed: (event: StoreProbedEvent) => void,
  options: RequestOptions,
): Promise<EpochMode> {
  const { createIfAbsent, location } = store.properties;
  if (createIfAbsent === "atomic") return { kind: "exclusive" };
  const path = join(spoolDirectory, "store-verdict.json");
  let verdict = await readVerdict(path, location);
  if (verdict === undefined) {
    const report = await probeConditionalWrites(store, options);
    verdict = report.verdict;
    onProbed({ type: "store-probed", verdict, message: report.sentence });
    if (verdict !== "no-verdict") {
      await writeWhole(path, [JSON.stringify({ location, verdict })]);
    }
  }
  if (verdict === "atomic") return { kind: "exclusive" };
  return {
    kind: "detected",
    alsoPlain: verdict === "not-atomic" || verdict === "no-verdict",
  };
}

const verdicts: readonly string[] = ["atomic", "not-atomic", "ignored", "inverted", "refused"];

/** @returns undefined for another store's, and for a file that is not ours: then the store is asked again. */
async function readVerdict(
  path: string,
  location: string,
): Promise<ConditionalWritesVerdict | undefined> {
  const bytes = await readIfExists(path);
  if (bytes === undefined) return undefined;
  try {
    const kept = JSON.parse(bytes.toString("utf8")) as Record<string, unknown> | null;
    const { verdict } = kept ?? {};
    const isOurs = kept?.["location"] === location && verdicts.includes(String(verdict));
    return isOurs ? (verdict as ConditionalWritesVerdict) : undefined;
  } catch {
    return undefined;
  }
}
