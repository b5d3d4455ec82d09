import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { listReplica, type TimelineListing } from "wal-replicator";
import { FollowedLife } from "./followed-life.ts";

export interface FollowAndDie {
  readonly reader: { readonly lookCount: number; readonly changeCount: number };
  readonly kills: number;
  /** What maintenance did meanwhile. */
  readonly levels: {
    readonly hasMerged: boolean;
    readonly hasSnapshot: boolean;
    readonly isPruned: boolean;
  };
}

/**
 * Rounds of transactions, after each of which the follower is killed wherever it is; at a third of them the file is vacuumed, and at two others the
 * engine dies and another one takes over from the store. At the end the copy has to be the same, byte for byte, as a restore.
 */
export async function followAndDie(
  directory: string,
  seed: number,
  { transactions, rounds }: { readonly transactions: number; readonly rounds: number },
): Promise<FollowAndDie> {
  await using life = new FollowedLife(directory, seed);
  const { prng } = life;
  life.commit(10);
  await life.startEngine();
  life.startFollower();
  life.startReader();
  const perRound = Math.ceil(transactions / rounds);
  const order = prng.shuffle(Array.from({ length: rounds }, (_, round) => round));
  const [vacuumAt, shrinkAt] = order;
  // The last writer lives for long enough that there is something to remove.
  const [firstTakeOverAt, secondTakeOverAt] = order.filter((round) => round < rounds / 2);
  const snapshotAt = Math.floor((rounds * 3) / 4);
  for (let round = 0; round < rounds; round += 1) {
    for (let done = 0; done < perRound; ) {
      const burst = Math.min(perRound - done, prng.integer(1, 30));
      life.commit(burst);
      done += burst;
      await sleep(prng.integer(0, 30));
    }
    if (round === vacuumAt) life.database.exec("VACUUM");
    if (round === shrinkAt) {
      life.database.exec(
        "BEGIN; DELETE FROM log WHERE seq % 5 > 0; UPDATE meta SET entries = (SELECT count(*) FROM log), bytes = (SELECT total(length(body)) FROM log); COMMIT; VACUUM",
      );
    }
    if (round === firstTakeOverAt || round === secondTakeOverAt) {
      // With or without a tail that only the dead one had.
      if (prng.chance(0.5)) await life.flush();
      await life.takeOver();
    }
    if (round === snapshotAt) await life.snapshot();
    // A process takes a second to start: most of them are given the time to do something before they are killed.
    const patience = prng.chance(0.8) ? prng.integer(1, 15) : 0;
    for (let count = 0; !life.hasFollowed(patience) && count < 1_000; count += 1) {
      life.commit(1);
      await sleep(20);
    }
    await sleep(prng.integer(0, 50));
    await life.nextFollower();
  }
  const txid = await life.flush();
  const { end } = await life.endFollower(txid);
  expect(end).toMatchObject({ txid, isVerbatim: true });
  const reader = await life.endReader();
  await life.stopEngine();
  const { restored, copy } = await life.images();
  expect(Buffer.compare(copy, restored)).toBe(0);
  return { reader, kills: life.killCount, levels: await readLevels(life.replica) };
}

async function readLevels(replica: string): Promise<FollowAndDie["levels"]> {
  const { timelines } = await listReplica({ replica });
  const levels = timelines.flatMap((timeline) => timeline.levels.map(({ level }) => level));
  return {
    hasMerged: levels.some((level) => level > 0 && level < 9),
    hasSnapshot: levels.includes(9),
    isPruned: timelines.some(({ files, parent }) => hasHole(files, parent?.txid ?? 0n)),
  };
}

/** Whether level 0 has less than it had. The copy that a timeline began with may be there for long. */
function hasHole(files: TimelineListing["files"], begin: bigint): boolean {
  let end = begin;
  for (const { level, minTxid, maxTxid } of files) {
    if (level !== 0) continue;
    if (minTxid > end + 1n) return true;
    end = maxTxid;
  }
  return false;
}
