import type { ProviderProfile } from "./provider-profiles.ts";

/**
 * Parts that are under way at once; what is being gathered, and copies that wait for the garbage collector, are several times as much.
 * One part may be larger where the store or the size asks for it.
 */
const partsBytesMax = 10 * 1024 * 1024;
/** The smallest that S3 takes. */
const partBytesUsual = 5 * 1024 * 1024;
/** S3's own limit. */
const partBytesMax = 5 * 1024 ** 3;

export interface UploadPlan {
  readonly partBytes: number;
  /** At least 1. Parts that are under way or being gathered at the same time. */
  readonly concurrency: number;
}

/** @returns undefined if an object of this size is one part, or if the store cannot take it in parts. */
export function planUpload(
  size: number,
  profile: Pick<ProviderProfile, "partBytesMin" | "partCountMax" | "partConcurrencyMax">,
): UploadPlan | undefined {
  const { partBytesMin, partCountMax, partConcurrencyMax } = profile;
  const partBytes = Math.max(partBytesMin, partBytesUsual, Math.ceil(size / partCountMax));
  if (partBytes >= size || partBytes > partBytesMax) return undefined;
  const affordable = Math.floor(partsBytesMax / partBytes);
  return { partBytes, concurrency: Math.max(1, Math.min(partConcurrencyMax, affordable)) };
}
