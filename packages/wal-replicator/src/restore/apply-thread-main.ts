import { on } from "node:events";
import { open } from "node:fs/promises";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { packError } from "../helper/error-transfer.ts";
import type { ApplyJob, FromApplyThread, ToApplyThread } from "./apply-thread.ts";
import { FileDamaged, LocalApplier } from "./part-applier.ts";
import { coded } from "./restore-file.ts";

// The entry of the thread that `apply-thread.ts` starts.
await run(parentPort as MessagePort, workerData as ApplyJob);

async function run(
  port: MessagePort,
  { newestFirst, path, temporaryPath }: ApplyJob,
): Promise<void> {
  const say = (message: FromApplyThread, transfer: readonly ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer);
  const messages = on(port, "message");
  try {
    await using handle = await coded(path, () => open(temporaryPath, "r+"));
    await using applier = new LocalApplier(newestFirst, { path, handle });
    for await (const [message] of messages as AsyncIterable<[ToApplyThread]>) {
      if (message.type === "part") {
        await applier.apply(message);
        say({ type: "applied" });
        continue;
      }
      const { pageChecksums, ...database } = await applier.complete(message.recorded);
      const halves = pageChecksums.halves;
      say({ type: "completed", database, halves }, [halves.buffer as ArrayBuffer]);
      break;
    }
  } catch (error) {
    const isDamage = error instanceof FileDamaged;
    const damagedIndex = isDamage
      ? newestFirst.findIndex(({ key }) => key === error.file.key)
      : undefined;
    say({ type: "failed", error: packError(isDamage ? error.cause : error), damagedIndex });
  }
}
