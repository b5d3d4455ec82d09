import { openSealedJson, sealJson } from "@vaultwarden-stream/object-store";
import { z } from "zod";

/**
 * What a restore drill has found out, as it lies in the store (`proofs/<time>.json`) and as `drill --json` prints it. `proved`: everything that it
 * says was restored and compared. `failed`: what is stored is bad. `inconclusive`: it could not be found out.
 */
export interface Proof {
  readonly version: 1;
  readonly outcome: "proved" | "failed" | "inconclusive";
  /** What is bad, or why nothing was found out; empty if it was proved. */
  readonly reasons: readonly string[];
  /** RFC 3339, by the clock of the machine that restored. */
  readonly startedAt: string;
  readonly endedAt: string;
  readonly host: string;
  /** Of vaultwarden-stream. */
  readonly engine: string;
  /** The recovery point that was restored; null: it did not come to that. */
  readonly timeline: string | null;
  /** 16 hex digits. */
  readonly txid: string | null;
  /** The moment that it is of. */
  readonly at: string | null;
  readonly database: ProvenDatabase | null;
  /** Null: it did not come to them. */
  readonly files: ProvenFiles | null;
  /** Key of the newest proof before it, as far as its writer knew; null: it was the first. */
  readonly previous: string | null;
}

interface ProvenDatabase {
  readonly bytes: number;
  /** Fetched for it. */
  readonly fetchedBytes: number;
  readonly rollingChecksum: string;
  /** Whether the store has one recorded, and it is the same. */
  readonly isRollingChecksumProved: boolean;
  /** Keys of files that were found damaged and that others made up for. */
  readonly damaged: readonly string[];
  readonly durationMs: number;
}

export interface ProvenFiles {
  /** Key of the manifest; null: no files were stored. */
  readonly manifest: string | null;
  /** Contents that the recovery point needs, and their bytes. Of all of them the presence and the size were looked at. */
  readonly total: number;
  readonly totalBytes: number;
  /** Contents that were restored and whose digests were compared. */
  readonly compared: number;
  readonly comparedBytes: number;
  /** Which part was compared: the n-th of about t. After t drills each content was. */
  readonly part: { readonly n: number; readonly t: number };
  /** Digest of the last content of the part; null: it was the last part. */
  readonly comparedUpTo: string | null;
  /** Files that rows of the database name and that were never stored. */
  readonly missing: readonly string[];
  readonly durationMs: number;
}

const count = z.int().nonnegative();

const proof: z.ZodType<Proof> = z.object({
  version: z.literal(1),
  outcome: z.enum(["proved", "failed", "inconclusive"]),
  reasons: z.array(z.string()),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  host: z.string(),
  engine: z.string(),
  timeline: z.string().nullable(),
  txid: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .nullable(),
  at: z.iso.datetime().nullable(),
  database: z
    .object({
      bytes: count,
      fetchedBytes: count,
      rollingChecksum: z.string(),
      isRollingChecksumProved: z.boolean(),
      damaged: z.array(z.string()),
      durationMs: count,
    })
    .nullable(),
  files: z
    .object({
      manifest: z.string().nullable(),
      total: count,
      totalBytes: count,
      compared: count,
      comparedBytes: count,
      part: z.object({ n: count, t: count }),
      comparedUpTo: z.string().nullable(),
      missing: z.array(z.string()),
      durationMs: count,
    })
    .nullable(),
  previous: z.string().nullable(),
});

export function encodeProof(value: Proof): Uint8Array {
  return sealJson(JSON.stringify(value, undefined, 1));
}

/** @returns undefined for everything but a proof as it was written. */
export function decodeProof(bytes: Uint8Array): Proof | undefined {
  try {
    const { value, seal } = openSealedJson(bytes);
    return seal === "intact" ? proof.parse(value) : undefined;
  } catch {
    return undefined; // not JSON, or of another version
  }
}
