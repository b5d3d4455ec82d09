import { randomBytes } from "node:crypto";
import {
  isNotFound,
  type ObjectInfo,
  type ObjectStore,
  ObjectStoreError,
  probeConditionalWrites,
} from "@vaultwarden-stream/object-store";
import { formatDuration } from "wal-replicator/command-line";
import { type Finding, ok } from "./finding.ts";

export interface DiagnoseStoreOptions {
  /** This machine's clock, in milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly signal?: AbortSignal;
}

/**
 * Tries everything that we need of a store, on scratch keys below `probe/` that are deleted again; where another vault or a first run looks,
 * these count for nothing. Never throws for what the store does.
 *
 * @param stores - `store` as it is, which is how conditions are tried, and `patient`, the same behind a decorator that repeats failed requests.
 */
export async function diagnoseStore(
  { store, patient }: { readonly store: ObjectStore; readonly patient: ObjectStore },
  options: DiagnoseStoreOptions,
): Promise<readonly Finding[]> {
  const request = options.signal === undefined ? {} : { signal: options.signal };
  const findings: Finding[] = [];
  const key = `probe/doctor-${randomBytes(8).toString("hex")}`;
  /** @returns whether to go on: without an answer, every further question has the same one. */
  const look = async (check: string, ask: () => Promise<Finding | undefined>): Promise<boolean> => {
    try {
      const finding = await ask();
      if (finding !== undefined) findings.push(finding);
      return true;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof ObjectStoreError)) throw error;
      findings.push(toProblem(check, error));
      return !error.retryable;
    }
  };

  const isReached = await look("list", async () => {
    for await (const _ of patient.list("probe/", request)) break;
    return ok("list", `${store.properties.location} answers, and may be listed`);
  });
  if (!isReached) return findings;
  await look("missing objects", async () => {
    try {
      await patient.head(`${key}-missing`, request);
    } catch (error) {
      if (isNotFound(error))
        return ok("missing objects", "a missing object is told from a forbidden one");
      throw error;
    }
    return problem(
      "missing objects",
      "an object that nobody wrote is there",
      "look at what answers at the endpoint",
    );
  });
  await look("put", async () => {
    await patient.put(key, scratch, { ...request, metadata });
    return ok("put", "objects can be written");
  });
  const newest = findings.at(-1);
  if (newest?.check === "put" && newest.outcome === "ok") {
    await look("get", () => readBack(patient, key, options, findings));
    await look("delete", () => remove(patient, key, request));
    await look("second writer", () => tryConditions(store, request));
  }
  if (store.properties.kind === "s3") findings.push(multipartAdvice);
  return findings;
}

const scratch = new TextEncoder().encode("Written by `doctor`, which deletes it again.");
const metadata = { "doctor-nonce": "0123456789abcdef" };
const grant =
  "grant s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix";

async function readBack(
  store: ObjectStore,
  key: string,
  { now, signal }: DiagnoseStoreOptions,
  findings: Finding[],
): Promise<Finding> {
  const request = signal === undefined ? {} : { signal };
  const beganMs = now();
  const { info, body } = await store.get(key, request);
  findings.push(compareClocks(info, beganMs, now()));
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  if (!Buffer.concat(chunks).equals(scratch)) {
    return problem("get", "what was read is not what was written", "do not use this store");
  }
  if (info.metadata?.["doctor-nonce"] !== metadata["doctor-nonce"]) {
    return problem(
      "get",
      "the store loses the metadata of objects, where checksums of whole databases are kept",
      "look for a proxy that strips x-amz-meta-* headers, or use another store",
    );
  }
  return ok("get", "objects are read as they were written");
}

async function remove(
  store: ObjectStore,
  key: string,
  request: { readonly signal?: AbortSignal },
): Promise<Finding> {
  try {
    await store.delete(key, request);
  } catch (error) {
    if (!(error instanceof ObjectStoreError) || error.code !== "FORBIDDEN") throw error;
    return {
      check: "delete",
      outcome: "warning",
      message: `these credentials may not delete, so that nothing old is ever removed; ${key} is left behind`,
      remedy:
        "wanted for an append-only store: let lifecycle rules prune it. Else grant s3:DeleteObject",
    };
  }
  try {
    await store.head(key, request);
  } catch (error) {
    if (isNotFound(error)) return ok("delete", "objects can be deleted");
    throw error;
  }
  return problem(
    "delete",
    `the store says that it has deleted ${key}, which is still there`,
    "use another store, or expect everything to be kept for ever",
  );
}

const skewWarnMs = 60_000;
/** Beyond it retention deletes nothing any more; at three times as much, S3 refuses every request. */
const skewMaxMs = 300_000;

function compareClocks({ storeTime }: ObjectInfo, beganMs: number, endedMs: number): Finding {
  if (storeTime === undefined) {
    return {
      check: "clock",
      outcome: "skipped",
      message: "the store does not tell its time",
      remedy: null,
    };
  }
  const storeMs = storeTime.getTime();
  // The store answered at some moment in between, and says it to the second.
  const aheadMs = Math.max(0, beganMs - (storeMs + 1_000));
  const behindMs = Math.max(0, storeMs - endedMs);
  const skewMs = Math.max(aheadMs, behindMs);
  if (skewMs < skewWarnMs) return ok("clock", "this machine and the store have the same time");
  const message = `this machine's clock is ${formatDuration(skewMs)} ${aheadMs > behindMs ? "ahead of" : "behind"} the store's`;
  const remedy = "set the clock, and let NTP keep it";
  return { check: "clock", outcome: skewMs > skewMaxMs ? "problem" : "warning", message, remedy };
}

async function tryConditions(
  store: ObjectStore,
  request: { readonly signal?: AbortSignal },
): Promise<Finding> {
  const check = "second writer";
  if (store.properties.createIfAbsent === "atomic")
    return ok(check, "a second writer is prevented");
  const { verdict, sentence } = await probeConditionalWrites(store, request);
  if (verdict === "atomic") return ok(check, `a second writer is prevented: ${sentence}`);
  return {
    check,
    outcome: "warning",
    message: `a second writer is detected, not prevented (${verdict}): ${sentence}`,
    remedy:
      "see to it that only one machine runs this vault, or use a store with atomic conditional writes",
  };
}

const multipartAdvice: Finding = {
  check: "multipart uploads",
  outcome: "note",
  message:
    "an upload in parts that is cut off leaves parts behind, which no listing shows and which cost",
  remedy:
    "add a lifecycle rule to the bucket that aborts incomplete multipart uploads after 7 days",
};

function toProblem(check: string, error: ObjectStoreError): Finding {
  const isForbidden = error.code === "FORBIDDEN";
  const what =
    check === "missing objects" && isForbidden
      ? "a missing object cannot be told from a forbidden one: "
      : "";
  return problem(
    check,
    `${what}${error.message} (${error.code})`,
    error.hint ?? (isForbidden ? grant : "check the endpoint, the network and the credentials"),
  );
}

function problem(check: string, message: string, remedy: string): Finding {
  return { check, outcome: "problem", message, remedy };
}
