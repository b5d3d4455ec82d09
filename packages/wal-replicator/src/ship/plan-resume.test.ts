import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { judgeComparison, planResume, type ResumeInput } from "./plan-resume.ts";

const salt = { salt1: 10, salt2: 20 };
const otherSalt = { salt1: 11, salt2: 7 };
const walPosition = { salt, frameCount: 5, sums: { s0: 1, s1: 2 } };
const local = { txid: toTxid(7n), pageSize: 4096, walPosition, generations: [] };
const found: ResumeInput = {
  local,
  remoteTxid: toTxid(7n),
  pageSize: 4096,
  walSalt: salt,
  committedFrames: 9,
  lastFrame: "match",
};

describe("planResume", () => {
  it.each<[string, Partial<ResumeInput>, string]>([
    ["goes on where the WAL stands as it was left", {}, "continue"],
    [
      "goes on with a store that is behind: the spool ships the rest",
      { remoteTxid: toTxid(6n) },
      "continue",
    ],
    [
      "takes a snapshot of a timeline that nothing was captured on",
      { local: undefined, remoteTxid: undefined },
      "snapshot",
    ],
    [
      "refuses a timeline that the store has and the spool does not know",
      { local: undefined },
      "behind",
    ],
    ["refuses to ship the past: the store is ahead", { remoteTxid: toTxid(8n) }, "behind"],
    [
      "refuses to ship the past: the WAL ends before the position",
      { lastFrame: "short" },
      "behind",
    ],
    ["compares when another frame lies at the position", { lastFrame: "mismatch" }, "compare"],
    [
      "compares when the WAL was restarted",
      { walSalt: otherSalt, lastFrame: undefined },
      "compare",
    ],
    [
      "compares when the WAL was restarted and its file still shows the old generation",
      { committedFrames: 0 },
      "compare",
    ],
    ["compares when there is no WAL", { walSalt: undefined, lastFrame: undefined }, "compare"],
    [
      "compares when no position was saved",
      { local: { ...local, walPosition: undefined } },
      "compare",
    ],
    ["takes a snapshot when the page size has changed", { pageSize: 512 }, "snapshot"],
    [
      "refuses the WAL of an earlier generation",
      {
        local: {
          ...local,
          generations: [{ salt: otherSalt, rollingChecksum: "8000000000000001" }],
        },
        walSalt: otherSalt,
        lastFrame: undefined,
      },
      "behind",
    ],
  ])("%s", (_, changed, action) => {
    expect(planResume({ ...found, ...changed }).action).toBe(action);
  });
});

describe("judgeComparison", () => {
  const saved = {
    rollingChecksum: "8000000000000003",
    generations: [{ salt, rollingChecksum: "8000000000000001" }],
  };

  it.each([
    ["the saved database is the same", "8000000000000003", "same"],
    ["the database as it was when an earlier WAL began is behind", "8000000000000001", "behind"],
    ["anything else has changed", "8000000000000009", "changed"],
  ])("%s", (_, now, judgement) => {
    expect(judgeComparison(now, saved)).toBe(judgement);
  });
});
