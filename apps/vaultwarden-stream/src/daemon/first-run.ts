import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  type ObjectStore,
  ObjectStoreError,
  openObjectStore,
  type S3Location,
  type StoreLocation,
} from "@vaultwarden-stream/object-store";
import { ReplicationError } from "wal-replicator";
import { describeStore, openRetrying, timelinesUnder } from "./vault-store.ts";

/**
 * A first run is only believed if it looks like one (predecessor.md 3, weakness 7): an empty vault under a prefix with a typing error would
 * greet everybody with open sign-ups, while the real one lies beside it.
 */
export interface FirstRunFindings {
  /** A key in our own place, which nobody has begun as a vault's. */
  readonly ownKey: string | undefined;
  /** Where another vault lies, for people. */
  readonly otherVault: string | undefined;
  /** Why not everything beside our place was looked at; undefined: it was. */
  readonly unseenBecause: string | undefined;
}

export type FirstRunPlan =
  | { readonly action: "begin"; readonly warning: string | undefined }
  | { readonly action: "refuse"; readonly why: string; readonly next: string };

export interface FirstRunOptions {
  readonly store: StoreLocation;
  /** Somebody has said for just this place that a vault may begin beside others. */
  readonly allowsEmptyStart: boolean;
  readonly signal: AbortSignal;
}

/** Of a bucket with other things in it, as much is listed: 20,000 keys. */
const pageCountMax = 20;
/** Pages that hold none of our kind of keys do not count. */
const lookMsMax = 30_000;
/** What the proof of conditional writes leaves if it is killed. */
const scratchPrefix = "probe/";

/**
 * To be asked where neither the machine nor the store knows anything of this vault. Reads only.
 *
 * @returns what to warn of.
 * @throws {ReplicationError} `START_REFUSED`, with what was found. @throws {ObjectStoreError} if the store gives no answer: that is not "nothing there".
 */
export async function checkFirstRun(options: FirstRunOptions): Promise<string | undefined> {
  const { store, allowsEmptyStart } = options;
  const plan = planFirstRun(await lookAround(options), { store, allowsEmptyStart });
  if (plan.action === "refuse") throw new ReplicationError("START_REFUSED", plan.why, plan.next);
  return plan.warning;
}

export function planFirstRun(
  { ownKey, otherVault, unseenBecause }: FirstRunFindings,
  { store, allowsEmptyStart }: Pick<FirstRunOptions, "store" | "allowsEmptyStart">,
): FirstRunPlan {
  const variable = typeof store === "string" ? "STORE_DIR" : "S3_PREFIX";
  if (ownKey !== undefined) {
    return {
      action: "refuse",
      why: `there is no database here, nobody has begun a vault at ${describeStore(store)}, and yet it holds something (${ownKey})`,
      next: `set ${variable} to an empty place, or to the one that was used before`,
    };
  }
  if (otherVault !== undefined && !allowsEmptyStart) {
    const value = typeof store === "string" ? store : store.prefix || "/";
    return {
      action: "refuse",
      why: `there is no database here and nothing at ${describeStore(store)}, but there is a vault at ${otherVault}`,
      next: `if that is the one, correct ${variable}; to begin a new and empty one beside it, set ALLOW_EMPTY_START=${value}`,
    };
  }
  return {
    action: "begin",
    warning:
      unseenBecause === undefined || allowsEmptyStart
        ? undefined
        : `whether there is another vault beside it is not known: ${unseenBecause}. If this should not be a new vault, stop it now and correct ${variable}`,
  };
}

/** @returns the place of the vault that a key is part of: what lies before its own part; undefined: no vault's key. */
export function vaultOfKey(key: string): string | undefined {
  return (ourKey.exec(key) ?? predecessorKey.exec(key))?.[1];
}

const ourKey =
  /^((?:.+\/)?)(?:epochs\/\d{8}(?:-[0-9a-f]{8})?\.json|db\/\d{8}-[0-9a-f]{8}\/(?:ltx\/\d|000\d)\/[0-9a-f]{16}-[0-9a-f]{16}\.ltx)$/;
const predecessorKey =
  /^((?:.+\/)?)db\.sqlite3\/(?:ltx\/\d|000\d)\/[0-9a-f]{16}-[0-9a-f]{16}\.ltx$/;

async function lookAround({ store, signal }: FirstRunOptions): Promise<FirstRunFindings> {
  const own = await findKey(openRetrying(store), "", signal, (key) =>
    key.startsWith(scratchPrefix) ? undefined : key,
  );
  if (own.found !== undefined) return { ...nothing, ownKey: own.found };
  if (typeof store === "string") return lookAtSiblings(store, signal);
  return lookAtBucket(store, signal);
}

const nothing: FirstRunFindings = {
  ownKey: undefined,
  otherVault: undefined,
  unseenBecause: undefined,
};

async function lookAtBucket(store: S3Location, signal: AbortSignal): Promise<FirstRunFindings> {
  const bucket = { ...store, prefix: "" };
  const timeLimit = AbortSignal.timeout(lookMsMax);
  const isOver = "the bucket holds so much that only its beginning was looked at";
  try {
    const { found, isWhole } = await findKey(
      openRetrying(bucket),
      "",
      AbortSignal.any([signal, timeLimit]),
      vaultOfKey,
    );
    const otherVault =
      found === undefined ? undefined : describeStore({ ...store, prefix: found.slice(0, -1) });
    return { ...nothing, otherVault, unseenBecause: isWhole ? undefined : isOver };
  } catch (error) {
    if (timeLimit.aborted && !signal.aborted) return { ...nothing, unseenBecause: isOver };
    // Credentials for the prefix alone are good practice, and that was listed.
    if (!isForbidden(error)) throw error;
    const { message } = error as Error;
    return { ...nothing, unseenBecause: `only the prefix may be listed (${message})` };
  }
}

/** One level, as somebody mistypes the name of a directory. */
async function lookAtSiblings(directory: string, signal: AbortSignal): Promise<FirstRunFindings> {
  const parent = dirname(directory);
  const entries = await readdir(parent, { withFileTypes: true }).catch((error: unknown) => {
    // No parent yet; or one that only lets us pass, and then a sibling is none of our business.
    if (["ENOENT", "EACCES"].includes(String((error as NodeJS.ErrnoException).code))) return [];
    throw error;
  });
  const names = entries
    .filter((entry) => entry.isDirectory() && entry.name !== basename(directory))
    .map(({ name }) => name);
  let unseenBecause: string | undefined;
  for (const name of names) {
    const sibling = openObjectStore(join(parent, name));
    const { location } = sibling.properties;
    for (const prefix of ["epochs/", timelinesUnder]) {
      try {
        const { found } = await findKey(sibling, prefix, signal, vaultOfKey);
        if (found === "") return { ...nothing, otherVault: location };
      } catch (error) {
        if (!(error instanceof ObjectStoreError)) throw error;
        if (!isForbidden(error)) unseenBecause = `${location} cannot be read: ${error.message}`;
      }
    }
  }
  return { ...nothing, unseenBecause };
}

/** The first key that `pick` makes something of. `isWhole`: there is none, in all of it. */
async function findKey(
  store: ObjectStore,
  prefix: string,
  signal: AbortSignal,
  pick: (key: string) => string | undefined,
): Promise<{ readonly found: string | undefined; readonly isWhole: boolean }> {
  let pageCount = 0;
  for await (const page of store.list(prefix, { signal })) {
    for (const { key } of page) {
      const found = pick(key);
      if (found !== undefined) return { found, isWhole: false };
    }
    pageCount += 1;
    if (pageCount === pageCountMax) return { found: undefined, isWhole: false };
  }
  return { found: undefined, isWhole: true };
}

function isForbidden(error: unknown): boolean {
  return error instanceof ObjectStoreError && error.code === "FORBIDDEN";
}
