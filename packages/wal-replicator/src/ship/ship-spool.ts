import { invariant } from "../errors.ts";
import { releaseEpoch } from "../replica/epoch.ts";
import { writeTimelineFile } from "../replica/replica.ts";
import { localPosition } from "../start/local-position.ts";
import type { Outlook } from "../start/outlook.ts";
import type { SessionDeps } from "./session-deps.ts";
import { levelOf, type Spool } from "./spool.ts";
import { takeNoted } from "./take-noted.ts";

/**
 * Stores what waits in the spool of a database that is gone: in its timeline if that can go on, else as a branch. Nothing waits when it
 * resolves.
 */
export async function shipSpool(
  deps: SessionDeps,
  spool: Spool,
  { planIfPresent: plan, mode }: Pick<Outlook, "planIfPresent" | "mode">,
  signal: AbortSignal,
): Promise<void> {
  const { state } = spool;
  const position = localPosition(spool);
  invariant(state !== undefined && position !== undefined, "what waits has a timeline and a TXID");
  invariant(mode !== undefined, "a store that answers has a mode");
  const isContinued = plan.action === "continue";
  const kind = isContinued || plan.action === "begin" ? "writer" : "branch";
  const record = await takeNoted(
    deps,
    spool,
    mode,
    kind,
    isContinued
      ? { timeline: plan.timeline, parent: plan.parent }
      : { parent: spool.storedPosition },
    { signal },
  );
  if (!isContinued) await spool.moveTo({ ...state, timeline: record.timeline });
  for (const file of spool.waiting) {
    // After a power cut only the first that waits counts as tried: the marks before it have to be durable.
    await spool.settled();
    const { key } = await writeTimelineFile(
      deps.retryingReplica,
      record,
      mode,
      file,
      levelOf(file),
      {
        signal,
      },
    );
    await spool.markStored(file);
    deps.emit({
      type: "stored",
      txid: file.name.maxTxid,
      key,
      bytes: file.size,
      sinceCaptureMs: Math.max(0, deps.now() - file.capturedAtMs),
    });
  }
  const { txid, rollingChecksum } = position;
  const releasedAt = new Date(deps.now()).toISOString();
  await releaseEpoch(
    deps.retryingReplica,
    record,
    { nonce: record.nonce, txid, rollingChecksum, releasedAt },
    { signal },
  );
}
