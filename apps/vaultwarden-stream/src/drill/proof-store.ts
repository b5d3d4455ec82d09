import { type ObjectStore, ObjectStoreError } from "@vaultwarden-stream/object-store";
import { listProofs, proofKey, readProofBytes } from "wal-replicator";
import { decodeProof, encodeProof, type Proof } from "./proof.ts";

/** Of daily drills, a quarter of a year. */
export const keptMax = 90;
/** As many failures in a row are looked through for what was proved before them. */
const readsMax = 90;

interface RequestOptions {
  readonly signal?: AbortSignal;
}

/** What the store says of the drills so far. */
export interface ProofHistory {
  /** Oldest first. */
  readonly keys: readonly string[];
  readonly newest: StoredProof | undefined;
  readonly lastProved: StoredProof | undefined;
}

interface StoredProof {
  readonly key: string;
  readonly proof: Proof;
}

/**
 * One LIST, and a GET for each proof from the newest back to one that proved something. What cannot be read is passed over.
 *
 * @throws errors of the store as they are.
 */
export async function readProofs(
  store: ObjectStore,
  request: RequestOptions = {},
): Promise<ProofHistory> {
  const keys = await listProofs({ store, prefix: "" }, request);
  let newest: StoredProof | undefined;
  for (const key of keys.toReversed().slice(0, readsMax)) {
    const bytes = await readProofBytes(store, key, request);
    const proof = bytes === undefined ? undefined : decodeProof(bytes);
    if (proof === undefined) continue;
    newest ??= { key, proof };
    if (proof.outcome === "proved") return { keys, newest, lastProved: { key, proof } };
  }
  return { keys, newest, lastProved: undefined };
}

/**
 * Stores a proof, and removes the oldest ones; never the newest that proved something.
 *
 * Durability point: when it resolves, the proof is stored.
 *
 * @returns its key. @throws errors of the store as they are.
 */
export async function writeProof(
  store: ObjectStore,
  proof: Proof,
  { keys, lastProved }: ProofHistory,
  request: RequestOptions = {},
): Promise<string> {
  const key = proofKey({ prefix: "" }, new Date(proof.endedAt));
  await store.put(key, encodeProof(proof), request);
  const needed = proof.outcome === "proved" ? key : lastProved?.key;
  const old = keys.filter((one) => one !== needed).slice(0, Math.max(0, keys.length + 1 - keptMax));
  try {
    for (const one of old) await store.delete(one, request);
  } catch (error) {
    // Where nobody like us may delete they stay, and whatever else it is, the next drill tries again.
    if (!(error instanceof ObjectStoreError)) throw error;
  }
  return key;
}
