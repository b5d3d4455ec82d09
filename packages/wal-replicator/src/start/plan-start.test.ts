import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Txid, toTxid } from "../ltx/txid.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import {
  type LocalSide,
  type OwnTimeline,
  planStart,
  type RemoteEpoch,
  type RemoteSide,
  type StartInput,
  type StartPlan,
} from "./plan-start.ts";

const ours = "a".repeat(32);
const theirs = "b".repeat(32);
const staleMs = 180_000;

/** What a database looks like at a TXID, on our line or on the other one. */
function sum(txid: number, line: "ours" | "theirs" = "ours"): string {
  return `${line === "ours" ? "8" : "9"}${String(txid).padStart(15, "0")}`;
}

function at(timeline: string, txid: number): TimelinePosition {
  return { timeline, txid: toTxid(txid) };
}

/** Timeline `t1`, everything stored. */
function local(txid: number | undefined, more: Partial<LocalSide> = {}): LocalSide {
  const isCaptured = txid !== undefined;
  return {
    timeline: "t1",
    txid: isCaptured ? toTxid(txid) : undefined,
    rollingChecksum: isCaptured ? sum(txid) : undefined,
    storedTxid: isCaptured ? toTxid(txid) : undefined,
    restored: false,
    ...more,
  };
}

function epoch(
  nonce: string,
  timeline: string,
  more: {
    readonly parent?: TimelinePosition | null;
    readonly released?: number;
    readonly checksum?: string;
    readonly leaseAgeMs?: number;
  } = {},
): RemoteEpoch {
  const { parent = null, released, checksum, leaseAgeMs = staleMs } = more;
  return {
    record: {
      version: 1,
      epoch: 7,
      nonce,
      kind: "writer",
      owner: {
        host: "host-b",
        pid: 42,
        installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" },
      },
      timeline,
      parent,
      startedAt: "2026-01-01T00:00:00Z",
    },
    released:
      released === undefined
        ? null
        : {
            nonce,
            txid: toTxid(released),
            rollingChecksum: checksum ?? sum(released),
            releasedAt: "2026-01-01T00:00:00Z",
          },
    leaseAgeMs: nonce === ours || released !== undefined ? undefined : leaseAgeMs,
  };
}

/** Timeline `t1` in the store up to `highest`; what is recorded for `checksumAt` is of our line unless said otherwise. */
function own(
  highest: number,
  more: {
    readonly checksumAt?: number | null;
    readonly line?: "ours" | "theirs";
    readonly isKnownHere?: boolean;
    readonly restores?: boolean;
  } = {},
): OwnTimeline {
  const { checksumAt = highest, line = "ours", isKnownHere = true, restores = true } = more;
  return {
    highest: toTxid(highest),
    checksum:
      checksumAt === null
        ? undefined
        : { txid: toTxid(checksumAt), rollingChecksum: sum(checksumAt, line) },
    localChecksum: checksumAt !== null && isKnownHere ? sum(checksumAt) : undefined,
    restores,
  };
}

function remote(
  newest: RemoteEpoch | undefined,
  head: readonly TimelinePosition[],
  ownTimeline?: OwnTimeline,
  headChecksum?: string,
): RemoteSide {
  return { newest, head, headChecksum, own: ownTimeline };
}

const nothing = remote(undefined, []);

interface Case {
  readonly name: string;
  readonly input: Partial<StartInput>;
  readonly plan: Record<string, unknown> & { readonly action: StartPlan["action"] };
}

function plan(input: Partial<StartInput>): StartPlan {
  return planStart({
    database: "present",
    ownNonces: [ours],
    isExclusive: true,
    local: undefined,
    remote: nothing,
    ifHeld: "wait",
    leaseStaleMs: staleMs,
    onDivergence: "stop",
    ...input,
  });
}

const noDatabase: readonly Case[] = [
  {
    name: "nobody ever wrote here: a first run",
    input: { database: "missing" },
    plan: { action: "nothing-anywhere" },
  },
  {
    name: "nobody ever wrote here, and a first run here was ended before anything was stored: still one",
    input: { database: "missing", local: local(undefined) },
    plan: { action: "nothing-anywhere" },
  },
  {
    name: "unreachable: stop, whatever the spool says",
    input: { database: "missing", local: local(5), remote: "unreachable" },
    plan: { action: "stop", why: expect.stringContaining("does not answer") },
  },
  {
    name: "spool ahead: it is shipped first",
    input: {
      database: "missing",
      local: local(7, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 5)], own(5)),
    },
    plan: { action: "ship-spool" },
  },
  {
    name: "spool with everything from the first TXID on, and an empty store: it is shipped",
    input: { database: "missing", local: local(2, { storedTxid: undefined }) },
    plan: { action: "ship-spool" },
  },
  {
    name: "spool ahead of what an empty prefix lacks altogether: the wrong place, the spool is kept",
    input: { database: "missing", local: local(7, { storedTxid: toTxid(5) }) },
    plan: { action: "stop", why: expect.stringContaining("nothing of timeline t1") },
  },
  {
    name: "unconfirmed captures at a TXID that the store has with another content: they are shipped, not restored over",
    input: {
      database: "missing",
      local: local(6, { storedTxid: toTxid(5) }),
      remote: remote(epoch(theirs, "t1"), [at("t1", 8)], own(8, { checksumAt: 6, line: "theirs" })),
    },
    plan: { action: "ship-spool" },
  },
  {
    name: "a mark that was lost, and the store has exactly that: restore",
    input: {
      database: "missing",
      local: local(6, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 6)], own(6)),
    },
    plan: { action: "restore" },
  },
  {
    name: "recovery points: restore",
    input: { database: "missing", remote: remote(epoch(theirs, "t1"), [at("t1", 5)]) },
    plan: { action: "restore" },
  },
  {
    name: "a used prefix without recovery points: stop, naming the epoch",
    input: { database: "missing", remote: remote(epoch(theirs, "t1"), []) },
    plan: { action: "stop", why: expect.stringContaining("epoch 7"), next: expect.any(String) },
  },
  {
    name: "an empty prefix, and a spool that says that it was used: stop, naming the timeline",
    input: { database: "missing", local: local(5) },
    plan: { action: "stop", why: expect.stringContaining("timeline t1"), next: expect.any(String) },
  },
];

const alive = epoch(theirs, "t1", { leaseAgeMs: 60_000 });
const held: readonly Case[] = [
  {
    name: "wait until it is stale",
    input: { local: local(5), remote: remote(alive, [at("t1", 5)], own(5)) },
    plan: {
      action: "wait",
      forMs: 120_000,
      why: expect.stringMatching(/process 42 on host-b.*60 s ago/),
    },
  },
  {
    name: "no database waits as well",
    input: { database: "missing", remote: remote(alive, [at("t1", 5)]) },
    plan: { action: "wait" },
  },
  {
    name: "refuse, if that was asked for",
    input: { ifHeld: "refuse", local: local(5), remote: remote(alive, [at("t1", 5)], own(5)) },
    plan: { action: "held" },
  },
  {
    name: "take-over goes on at once",
    input: { ifHeld: "take-over", local: local(5), remote: remote(alive, [at("t1", 5)], own(5)) },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "a lease from the future of its own clock is fresh, and not waited for longer than that",
    input: { remote: remote(epoch(theirs, "t1", { leaseAgeMs: -50_000 }), [at("t1", 5)]) },
    plan: { action: "wait", forMs: staleMs },
  },
  {
    name: "stale to the millisecond: go on",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1", { leaseAgeMs: staleMs }), [at("t1", 5)], own(5)),
    },
    plan: { action: "begin" },
  },
  {
    name: "one millisecond before: wait for it",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1", { leaseAgeMs: staleMs - 1 }), [at("t1", 5)], own(5)),
    },
    plan: { action: "wait", forMs: 1 },
  },
  {
    name: "a released epoch holds nothing",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1", { released: 5 }), [at("t1", 5)], own(5)),
    },
    plan: { action: "continue", timeline: "t1" },
  },
  {
    name: "our own lease, of a process that was killed, is not waited for",
    input: { local: local(5), remote: remote(epoch(ours, "t1"), [at("t1", 5)], own(5)) },
    plan: { action: "continue", timeline: "t1" },
  },
];

const unreachable: readonly Case[] = [
  {
    name: "state of ours: start, and catch up later",
    input: { local: local(5), remote: "unreachable" },
    plan: { action: "offline", timeline: "t1" },
  },
  {
    name: "no state: stop",
    input: { remote: "unreachable" },
    plan: { action: "stop", why: expect.stringContaining("nothing here says") },
  },
  {
    name: "a timeline was entered and nothing captured: no state to go on from",
    input: { local: local(undefined), remote: "unreachable" },
    plan: { action: "stop" },
  },
];

const parent = at("t0", 3);
const ourLine: readonly Case[] = [
  {
    name: "same position: continue, with the timeline's own parent",
    input: {
      local: local(5),
      remote: remote(epoch(ours, "t1", { parent }), [at("t1", 5), parent], own(5)),
    },
    plan: { action: "continue", timeline: "t1", parent },
  },
  {
    name: "ahead: continue",
    input: {
      local: local(7, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 5)], own(5)),
    },
    plan: { action: "continue", timeline: "t1" },
  },
  {
    name: "begun, and nothing stored in it yet: continue",
    input: {
      local: local(4, { storedTxid: toTxid(3) }),
      remote: remote(epoch(ours, "t1", { parent }), [at("t0", 3)]),
    },
    plan: { action: "continue", timeline: "t1", parent },
  },
  {
    name: "begun, and nothing captured yet: continue",
    input: {
      local: local(undefined),
      remote: remote(epoch(ours, "t1", { parent }), [at("t0", 3)]),
    },
    plan: { action: "continue", timeline: "t1", parent },
  },
  {
    name: "behind, all of it confirmed once: the store has it, and more",
    input: {
      local: local(5),
      remote: remote(epoch(ours, "t1"), [at("t1", 8)], own(8, { checksumAt: 5 })),
    },
    plan: { action: "restore" },
  },
  {
    name: "behind, confirmed, and our TXID was merged away since: restore",
    input: {
      local: local(5),
      remote: remote(epoch(ours, "t1"), [at("t1", 8)], own(8, { checksumAt: null })),
    },
    plan: { action: "restore" },
  },
  {
    name: "an epoch for a new timeline was taken, and that timeline not entered: another one begins",
    input: { local: local(5), remote: remote(epoch(ours, "t2"), [at("t1", 5)], own(5)) },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "behind, unconfirmed, and the store records our very content: restore",
    input: {
      local: local(6, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 8)], own(8, { checksumAt: 6 })),
    },
    plan: { action: "restore" },
  },
  {
    name: "behind, unconfirmed, and the store records nothing there: diverged",
    input: {
      local: local(6, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 8)], own(8, { checksumAt: null })),
    },
    plan: { action: "diverged", go: "stop", why: expect.stringContaining("nobody confirmed") },
  },
  {
    name: "another content at the same TXID, as of a copy that shares our identity: diverged",
    input: {
      local: local(6),
      remote: remote(epoch(ours, "t1"), [at("t1", 6)], own(6, { line: "theirs" })),
    },
    plan: { action: "diverged", why: expect.stringContaining("another content") },
  },
  {
    name: "another content at the store's newest, and we are ahead: diverged",
    input: {
      local: local(8, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 6)], own(6, { line: "theirs" })),
    },
    plan: { action: "diverged" },
  },
  {
    name: "files deleted from the middle: a new timeline, whole",
    input: {
      local: local(5),
      remote: remote(epoch(ours, "t1"), [at("t1", 5)], own(5, { restores: false })),
    },
    plan: { action: "begin", parent: null },
  },
  {
    name: "all files of the timeline deleted: a new timeline, whole",
    input: { local: local(5), remote: remote(epoch(ours, "t1"), []) },
    plan: { action: "begin", parent: null, why: expect.stringContaining("missing") },
  },
  {
    name: "the whole prefix emptied, or another one: a new timeline, whole",
    input: { local: local(5) },
    plan: { action: "begin", parent: null, why: expect.stringContaining("timeline t1") },
  },
  {
    name: "a store that cannot keep two writers apart: a timeline for every start, from what is stored",
    input: {
      isExclusive: false,
      local: local(7, { storedTxid: toTxid(5) }),
      remote: remote(epoch(ours, "t1"), [at("t1", 5)], own(5)),
    },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "the same with nothing stored: from nowhere",
    input: {
      isExclusive: false,
      local: local(undefined),
      remote: remote(epoch(ours, "t1"), []),
    },
    plan: { action: "begin", parent: null },
  },
];

const released: readonly Case[] = [
  {
    name: "at another TXID with our content, as after a change and its undoing: a timeline of our own",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1", { released: 4, checksum: sum(5) }), [at("t1", 5)], own(5)),
    },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "at another TXID: not our position, so a timeline of our own",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1", { released: 4 }), [at("t1", 5)], own(5)),
    },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "at our TXID with another content: diverged",
    input: {
      local: local(5),
      remote: remote(
        epoch(theirs, "t1", { released: 5, checksum: sum(5, "theirs") }),
        [at("t1", 5)],
        own(5, { line: "theirs" }),
      ),
    },
    plan: { action: "diverged" },
  },
  {
    name: "at our position, and the store's file there has another content: diverged",
    input: {
      local: local(5),
      remote: remote(epoch(ours, "t1", { released: 5 }), [at("t1", 5)], own(5, { line: "theirs" })),
    },
    plan: { action: "diverged" },
  },
  {
    name: "at our position, and files were deleted since: a new timeline, whole",
    input: {
      local: local(5),
      remote: remote(
        epoch(theirs, "t1", { released: 5 }),
        [at("t1", 5)],
        own(5, { restores: false }),
      ),
    },
    plan: { action: "begin", parent: null },
  },
  {
    name: "at our position after a restore: continue",
    input: {
      local: local(5, { restored: true }),
      remote: remote(epoch(theirs, "t1", { released: 5 }), [at("t1", 5)], own(5)),
    },
    plan: { action: "continue", timeline: "t1" },
  },
];

const restored: readonly Case[] = [
  {
    name: "to an earlier moment: a new timeline from there",
    input: {
      local: local(3, { restored: true }),
      remote: remote(epoch(theirs, "t1", { released: 5 }), [at("t1", 5)], own(5)),
    },
    plan: { action: "begin", parent: at("t1", 3) },
  },
  {
    name: "to an earlier moment of an ancestor",
    input: {
      local: local(2, { restored: true }),
      remote: remote(epoch(theirs, "t2"), [at("t2", 9), at("t1", 5)], own(7)),
    },
    plan: { action: "begin", parent: at("t1", 2) },
  },
  {
    name: "from another store: diverged from this one",
    input: {
      local: local(3, { restored: true }),
      remote: remote(epoch(theirs, "t9"), [at("t9", 5)]),
    },
    plan: { action: "diverged" },
  },
];

const headOfOthers: readonly Case[] = [
  {
    name: "our timeline, same position, nobody released it: a new timeline from there",
    input: { local: local(5), remote: remote(epoch(theirs, "t1"), [at("t1", 5)], own(5)) },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "our timeline, and we have more: a new timeline from what is stored",
    input: {
      local: local(7, { storedTxid: toTxid(5) }),
      remote: remote(epoch(theirs, "t1"), [at("t1", 5)], own(5)),
    },
    plan: { action: "begin", parent: at("t1", 5) },
  },
  {
    name: "our timeline, behind and confirmed: restore",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1"), [at("t1", 8)], own(8, { checksumAt: 5 })),
    },
    plan: { action: "restore" },
  },
  {
    name: "our timeline, behind, with captures that nobody confirmed: diverged",
    input: {
      local: local(6, { storedTxid: toTxid(5) }),
      remote: remote(epoch(theirs, "t1"), [at("t1", 8)], own(8, { checksumAt: 6, line: "theirs" })),
    },
    plan: { action: "diverged" },
  },
  {
    name: "the head branched off exactly where we are: restore",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t2"), [at("t2", 9), at("t1", 5)], own(5)),
    },
    plan: { action: "restore" },
  },
  {
    name: "the head branched off where we are, and our capture there was never confirmed: diverged",
    input: {
      local: local(5, { storedTxid: toTxid(4) }),
      remote: remote(epoch(theirs, "t2"), [at("t2", 9), at("t1", 5)], own(5, { checksumAt: null })),
    },
    plan: { action: "diverged" },
  },
  {
    name: "the head branched off behind us: restore",
    input: {
      local: local(4),
      remote: remote(epoch(theirs, "t2"), [at("t2", 9), at("t1", 5)], own(5, { checksumAt: 4 })),
    },
    plan: { action: "restore" },
  },
  {
    name: "the head branched off before us: diverged",
    input: {
      local: local(7),
      remote: remote(epoch(theirs, "t2"), [at("t2", 9), at("t1", 5)], own(7)),
    },
    plan: { action: "diverged", why: expect.stringContaining("branched off at TXID 5") },
  },
  {
    name: "the head is a timeline that ours is no part of: diverged",
    input: { local: local(7), remote: remote(epoch(theirs, "t9"), [at("t9", 4)], own(7)) },
    plan: { action: "diverged", why: expect.stringContaining("t9") },
  },
  {
    name: "files deleted: a new timeline, whole",
    input: {
      local: local(5),
      remote: remote(epoch(theirs, "t1"), [at("t1", 5)], own(5, { restores: false })),
    },
    plan: { action: "begin", parent: null },
  },
  {
    name: "nothing there restores: a new timeline, whole",
    input: { local: local(5), remote: remote(epoch(theirs, "t9"), []) },
    plan: { action: "begin", parent: null },
  },
];

const withoutState: readonly Case[] = [
  { name: "empty prefix: adopt it", input: {}, plan: { action: "begin", parent: null } },
  {
    name: "recovery points: compare with the head's newest",
    input: {
      remote: remote(epoch(theirs, "t1"), [at("t1", 5)], undefined, sum(5)),
    },
    plan: { action: "compare", head: at("t1", 5), rollingChecksum: sum(5) },
  },
  {
    name: "recovery points without a checksum: compared with nothing, which nothing equals",
    input: { remote: remote(epoch(theirs, "t1"), [at("t1", 5)]) },
    plan: { action: "compare", rollingChecksum: undefined },
  },
  {
    name: "a used prefix with nothing to restore: a new timeline, whole",
    input: { remote: remote(epoch(theirs, "t1"), []) },
    plan: { action: "begin", parent: null },
  },
];

describe.each([
  ["no database", noDatabase],
  ["another owner's living lease", held],
  ["the store does not answer", unreachable],
  ["the newest epoch is ours", ourLine],
  ["the newest epoch was released", released],
  ["restored", restored],
  ["the newest epoch is another's", headOfOthers],
  ["a database without state of ours", withoutState],
] as const)("%s", (_, cases) => {
  it.each(cases)("$name", (testCase) => {
    expect(plan(testCase.input)).toMatchObject(testCase.plan);
  });
});

it.each(["stop", "local", "remote"] as const)("diverged goes on as asked: %s", (onDivergence) => {
  const input = { local: local(7), remote: remote(epoch(theirs, "t9"), [at("t9", 4)], own(7)) };
  expect(plan({ ...input, onDivergence })).toMatchObject({ action: "diverged", go: onDivergence });
});

describe("whatever both sides say", () => {
  const txid = fc.integer({ min: 1, max: 5 });
  const position = fc.record({ timeline: fc.constantFrom("t0", "t1", "t2"), txid }).map((from) => ({
    timeline: from.timeline,
    txid: toTxid(from.txid),
  }));
  const anyLocal = fc
    .record({
      txid: fc.option(txid, { nil: undefined }),
      storedTxid: fc.option(txid, { nil: undefined }),
      restored: fc.boolean(),
    })
    .map(({ txid: newest, storedTxid, restored: isRestored }) =>
      local(newest, {
        storedTxid: storedTxid === undefined ? undefined : toTxid(storedTxid),
        // A restore leaves nothing that is unconfirmed.
        restored: isRestored && newest !== undefined && newest === storedTxid,
      }),
    );
  const anyEpoch = fc
    .record({
      nonce: fc.constantFrom(ours, theirs),
      timeline: fc.constantFrom("t1", "t2"),
      released: fc.option(txid, { nil: undefined }),
      line: fc.constantFrom("ours", "theirs"),
      leaseAgeMs: fc.integer({ min: -staleMs, max: 2 * staleMs }),
    })
    .map(({ nonce, timeline, released: to, line, leaseAgeMs }) =>
      epoch(nonce, timeline, {
        leaseAgeMs,
        ...(to === undefined ? {} : { released: to, checksum: sum(to, line as "ours" | "theirs") }),
      }),
    );
  const anyInput = fc
    .record({
      database: fc.constantFrom("missing", "present"),
      isExclusive: fc.boolean(),
      local: fc.option(anyLocal, { nil: undefined }),
      newest: fc.option(anyEpoch, { nil: undefined }),
      head: fc.array(position, { maxLength: 3 }),
      highest: fc.option(txid, { nil: undefined }),
      line: fc.constantFrom("ours", "theirs", "unknown"),
      restores: fc.boolean(),
      ifHeld: fc.constantFrom("wait", "refuse", "take-over"),
      onDivergence: fc.constantFrom("stop", "local", "remote"),
    })
    .map(({ newest, head, highest, line, restores, local: side, ...rest }): StartInput => {
      const known = side?.txid === undefined ? Number.POSITIVE_INFINITY : Number(side.txid);
      const checksumAt = line === "unknown" ? null : Math.min(highest ?? 0, known);
      return {
        ...(rest as Pick<StartInput, "database" | "isExclusive" | "ifHeld" | "onDivergence">),
        ownNonces: [ours],
        leaseStaleMs: staleMs,
        local: side,
        // A store without epochs has no head and no files of ours.
        remote:
          newest === undefined
            ? nothing
            : remote(
                newest,
                head,
                side === undefined || highest === undefined
                  ? undefined
                  : own(highest, {
                      checksumAt,
                      restores,
                      isKnownHere: side.txid !== undefined && checksumAt === Number(side.txid),
                      line: line === "theirs" ? "theirs" : "ours",
                    }),
              ),
      };
    });

  function unconfirmed({ local: side }: StartInput): Txid | undefined {
    if (side?.txid === undefined) return undefined;
    return side.storedTxid !== undefined && side.storedTxid >= side.txid ? undefined : side.txid;
  }

  it("captures that nobody confirmed are never restored over, nor continued where the store has another content", () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const newest = unconfirmed(input);
        const { remote: side } = input;
        if (newest === undefined || side === "unreachable") return;
        const { action } = planStart(input);
        const { checksum } = side.own ?? {};
        const isSame =
          checksum?.txid === newest && checksum.rollingChecksum === sum(Number(newest));
        if (action === "restore") expect(isSame).toBe(true);
        if (action === "continue" && checksum?.txid === newest) expect(isSame).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it("nobody writes while another's lease is alive, but who was told to take over", () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const { remote: side, ifHeld } = input;
        if (side === "unreachable" || side.newest === undefined) return;
        const { record, released: release, leaseAgeMs } = side.newest;
        const isHeld = record.nonce === theirs && release === null && (leaseAgeMs ?? 0) < staleMs;
        if (!isHeld || ifHeld === "take-over") return;
        expect(planStart(input).action).toBe(ifHeld === "wait" ? "wait" : "held");
      }),
      { numRuns: 5_000 },
    );
  });

  it("a timeline is continued only by who wrote its newest epoch, or from where that was released", () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const result = planStart(input);
        if (result.action !== "continue" || input.remote === "unreachable") return;
        expect(input.isExclusive).toBe(true);
        const { newest } = input.remote;
        expect(newest?.record.timeline).toBe(result.timeline);
        const isReleasedHere = newest?.released?.txid === input.local?.txid;
        expect(newest?.record.nonce === ours || isReleasedHere).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it("a branch point is something that the store has", () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const result = planStart(input);
        if (result.action !== "begin" || result.parent === null) return;
        if (input.remote === "unreachable") return;
        const { timeline, txid: branch } = result.parent;
        const stored = input.local?.timeline === timeline ? input.local.storedTxid : undefined;
        const isStored = stored !== undefined && branch <= stored;
        const isListed = input.remote.head.some(
          (part) => part.timeline === timeline && branch <= part.txid,
        );
        expect(isStored || isListed).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});
