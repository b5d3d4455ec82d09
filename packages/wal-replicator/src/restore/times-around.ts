import {
  isNotFound,
  type ObjectStore,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import { compareRanges, type ReplicaFile } from "../replica/catalog.ts";

/**
 * Files with their times set right, as far as a restore to the state before a moment goes by them.
 *
 * A listing of S3 says when a file was stored and not of when its content is: a merged file may be hours later than that, and so is what was
 * stored after an outage. Only a HEAD tells (replica-layout.md 3). Within a level times do not decrease with the TXID, so the place where
 * the moment lies is found in log n of them.
 *
 * @returns for each file a `createdAt` that is before the moment just where the content's time is; exact for the files next to it.
 */
export async function timesAround(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  moment: Date,
  options: RequestOptions = {},
): Promise<readonly ReplicaFile[]> {
  if (store.properties.kind !== "s3") return files;
  const levels = Map.groupBy(files, ({ level }) => level).values();
  const cut = await Promise.all(
    [...levels].map((level) => cutLevel(store, level, moment, options)),
  );
  return cut.flat();
}

async function cutLevel(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  moment: Date,
  options: RequestOptions,
): Promise<ReplicaFile[]> {
  const sorted = files.toSorted(compareRanges);
  const asked = new Map<number, Date>();
  let first = 0;
  // Binary search for the first file that is not before the moment. The two files next to the place are always asked.
  for (let end = sorted.length; first < end; ) {
    const middle = Math.floor((first + end) / 2);
    const at = await timeOf(store, sorted[middle] as ReplicaFile, options);
    asked.set(middle, at);
    if (at < moment) first = middle + 1;
    else end = middle;
  }
  return sorted.map((file, index) => {
    const at = asked.get(index);
    if (at !== undefined) return { ...file, createdAt: at };
    const isBefore = index < first;
    if (isBefore === file.createdAt < moment) return file;
    return { ...file, createdAt: asked.get(isBefore ? first - 1 : first) as Date };
  });
}

async function timeOf(
  store: ObjectStore,
  { key, createdAt }: ReplicaFile,
  options: RequestOptions,
): Promise<Date> {
  try {
    const { timestamp, lastModified } = await store.head(key, options);
    return timestamp ?? lastModified;
  } catch (error) {
    // Removed since it was listed: a restore that needs it hears of that when it reads it, and plans again.
    if (isNotFound(error)) return createdAt;
    throw error;
  }
}
