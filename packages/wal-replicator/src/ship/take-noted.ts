import { hostname } from "node:os";
import type { RequestOptions } from "@vaultwarden-stream/object-store";
import { type EpochMode, takeEpoch } from "../replica/epoch.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import { formatTimelineName } from "../replica/replica-layout.ts";
import { thisInstallation } from "./installation.ts";
import type { SessionDeps } from "./session-deps.ts";
import type { Spool } from "./spool.ts";
import { noteNonces } from "./spool-nonces.ts";

/**
 * Takes the next epoch for this spool. The nonce is noted before the epoch is asked for: a crash in between leaves an epoch that is
 * known as ours.
 *
 * @param line.timeline - the one to go on in; undefined: a new one, named after the epoch.
 */
export async function takeNoted(
  deps: Pick<SessionDeps, "retryingReplica" | "randomBytes" | "now" | "at">,
  spool: Spool,
  mode: EpochMode,
  kind: EpochRecord["kind"],
  line: { readonly timeline?: string; readonly parent: TimelinePosition | null },
  request: RequestOptions,
): Promise<EpochRecord> {
  const nonce = Buffer.from(deps.randomBytes(16)).toString("hex");
  await noteNonces(spool, [nonce]);
  const record = await takeEpoch(
    deps.retryingReplica,
    mode,
    (epoch) => ({
      version: 1,
      epoch,
      nonce,
      kind,
      owner: { host: hostname(), pid: process.pid, installation: thisInstallation(spool) },
      timeline: line.timeline ?? formatTimelineName(epoch, nonce),
      parent: line.parent,
      startedAt: new Date(deps.now()).toISOString(),
    }),
    request,
  );
  deps.at("epoch-taken");
  return record;
}
