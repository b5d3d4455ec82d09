import {
  isNotFound,
  type ObjectStore,
  openSealedJson,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import { parseTxid } from "../ltx/txid.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import { isTimelineName } from "../replica/replica-layout.ts";

/**
 * What restore drills have proved, beside the replica: `proofs/<time>.json`, one object a drill, written by its host. The engine reads of it what
 * retention must know: up to where a restore is known to work.
 */
const directory = "proofs/";
const pattern = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z\.json$/;
/** Far above any real one. */
const proofBytesMax = 1 << 20;

export interface ProofPlace {
  readonly store: ObjectStore;
  /** As the replica's root has it: "" or a prefix that ends with a slash. */
  readonly prefix: string;
}

/** @param at - when the drill ended. */
export function proofKey({ prefix }: Pick<ProofPlace, "prefix">, at: Date): string {
  return `${prefix}${directory}${at.toISOString().replaceAll(/[-:.]/g, "")}.json`;
}

/** Keys of the proofs that are there, the oldest first. One LIST. */
export async function listProofs(
  { store, prefix }: ProofPlace,
  request: RequestOptions = {},
): Promise<string[]> {
  const keys: string[] = [];
  const under = `${prefix}${directory}`;
  for await (const page of store.list(under, request)) {
    for (const { key } of page) if (pattern.test(key.slice(under.length))) keys.push(key);
  }
  return keys.sort();
}

/** @returns its bytes; undefined if it is not there (any more), or is too large to be one. */
export async function readProofBytes(
  store: ObjectStore,
  key: string,
  request: RequestOptions = {},
): Promise<Uint8Array | undefined> {
  try {
    const { body } = await store.get(key, request);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > proofBytesMax) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/**
 * The newest position of which a drill has proved that it restores. One LIST, and a GET for each proof from the newest back to the one that
 * proved something; those that cannot be read are passed over.
 *
 * @returns undefined if nothing was proved yet. @throws errors of the store as they are: then nothing is known.
 */
export async function lastProven(
  place: ProofPlace,
  request: RequestOptions = {},
): Promise<(TimelinePosition & { readonly at: Date }) | undefined> {
  for (const key of (await listProofs(place, request)).reverse()) {
    const bytes = await readProofBytes(place.store, key, request);
    const proven = bytes === undefined ? undefined : decodeProven(bytes);
    if (proven !== undefined) return proven;
  }
  return undefined;
}

function decodeProven(bytes: Uint8Array): (TimelinePosition & { readonly at: Date }) | undefined {
  try {
    const { value, seal } = openSealedJson(bytes);
    const { version, outcome, timeline, txid, endedAt } = Object(value) as Record<string, unknown>;
    if (seal !== "intact" || version !== 1 || outcome !== "proved") return undefined;
    const parsed = typeof txid === "string" ? parseTxid(txid) : undefined;
    if (typeof timeline !== "string" || parsed === undefined) return undefined;
    if (timeline !== "" && !isTimelineName(timeline)) return undefined;
    return { timeline, txid: parsed, at: new Date(String(endedAt)) };
  } catch {
    return undefined; // not JSON
  }
}
