import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { listProofs, readProofBytes } from "wal-replicator";
import { decodeProof, type Proof } from "../drill/proof.ts";
import { keptMax } from "../drill/proof-store.ts";
import { type BadObject, badObject, type ProofsVerification } from "./files-verification.ts";

/**
 * Reads all proofs of restore drills, and misses those that others speak of.
 *
 * @param newestKnown - key of the newest one, as the daemon here knows it.
 * @throws errors of the store as they are.
 */
export async function verifyProofs(
  store: ObjectStore,
  newestKnown: string | null,
  signal: AbortSignal,
): Promise<ProofsVerification> {
  const keys = await listProofs({ store, prefix: "" }, { signal });
  const there = new Set(keys);
  const bad: BadObject[] = [];
  const proofs: Proof[] = [];
  for (const key of keys) {
    const bytes = await readProofBytes(store, key, { signal });
    const proof = bytes === undefined ? undefined : decodeProof(bytes);
    if (proof !== undefined) proofs.push(proof);
    else bad.push(badObject(key, "it is not what was written", { nothing: note }));
  }
  const named = new Set(proofs.flatMap(({ previous }) => previous ?? []));
  if (newestKnown !== null) named.add(newestKnown);
  for (const key of named) {
    // The oldest are removed once there are many.
    const isPruned = keys.length >= keptMax - 1 && key < (keys[1] ?? "");
    if (there.has(key) || isPruned) continue;
    bad.push(
      badObject(key, "it is not there, and a later one or the daemon here names it", {
        nothing: note,
      }),
    );
  }
  const lastProved = proofs.findLast(({ outcome }) => outcome === "proved");
  return { count: keys.length, lastProved: lastProved?.endedAt ?? null, bad };
}

const note = "nothing: it says what a drill has found, and the next drill writes another";
