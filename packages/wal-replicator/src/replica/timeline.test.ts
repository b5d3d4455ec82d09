import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { Epoch } from "./epoch.ts";
import type { InstallationIdentity } from "./epoch-record.ts";
import { type LocalTimeline, planTimeline } from "./timeline.ts";

const ours: InstallationIdentity = { hostId: "a", spoolInode: "1", spoolBornAt: "10" };
const another: InstallationIdentity = { ...ours, spoolInode: "2" };
const rollingChecksum = "8000000000000001";

function epoch(
  number: number,
  timeline: string,
  options: { installation?: InstallationIdentity; releasedAt?: number; parent?: string } = {},
): Epoch {
  return {
    record: {
      version: 1,
      epoch: number,
      nonce: "0".repeat(32),
      owner: { host: "h", pid: 1, installation: options.installation ?? ours },
      timeline,
      parent: options.parent === undefined ? null : { timeline: options.parent, txid: toTxid(4) },
      startedAt: "2026-01-01T00:00:00Z",
    },
    released:
      options.releasedAt === undefined
        ? null
        : { txid: toTxid(options.releasedAt), rollingChecksum, releasedAt: "2026-01-01T00:00:00Z" },
  };
}

function local(timeline: string, txid: number, rest: Partial<LocalTimeline> = {}): LocalTimeline {
  return { timeline, txid: toTxid(txid), storedTxid: toTxid(txid), ...rest };
}

describe("planTimeline", () => {
  const plan = (epochs: readonly Epoch[], at?: LocalTimeline, installation = ours) =>
    planTimeline({ epochs, installation, local: at });

  it("begins the first timeline without a parent", () => {
    expect(plan([])).toMatchObject({ action: "begin", parent: null });
    expect(plan([], local("x", 3))).toMatchObject({ action: "begin", parent: null });
  });

  it("begins without a parent where nothing says what the local database is", () => {
    expect(plan([epoch(1, "x", { releasedAt: 3 })])).toMatchObject({
      action: "begin",
      parent: null,
    });
  });

  it("continues after a clean release at our position, whoever released it, with the timeline's own parent", () => {
    const epochs = [epoch(1, "x", { installation: another, releasedAt: 9, parent: "w" })];
    expect(plan(epochs, local("x", 9))).toMatchObject({
      action: "continue",
      timeline: "x",
      parent: { timeline: "w", txid: 4n },
    });
    expect(plan(epochs, local("x", 9, { restored: true }))).toMatchObject({ action: "continue" });
  });

  it("continues its own timeline after a crash", () => {
    expect(plan([epoch(1, "x")], local("x", 9))).toMatchObject({ action: "continue" });
    expect(plan([epoch(1, "x", { releasedAt: 7 })], local("x", 9))).toMatchObject({
      action: "continue",
    });
    const nothingCaptured = { timeline: "x", txid: undefined, storedTxid: undefined };
    expect(plan([epoch(1, "x")], nothingCaptured)).toMatchObject({ action: "continue" });
  });

  it.each([
    ["another's epoch that was not released", epoch(1, "x", { installation: another })],
    [
      "a release at another TXID by another",
      epoch(1, "x", { installation: another, releasedAt: 12 }),
    ],
    ["a newer epoch on another timeline", epoch(2, "y", { releasedAt: 9 })],
  ])("branches off after %s", (_, newest) => {
    const epochs = [epoch(1, "x"), newest];
    expect(plan(epochs, local("x", 9))).toMatchObject({
      action: "begin",
      parent: { timeline: "x", txid: 9n },
    });
  });

  it("branches off where another content has our TXID", () => {
    const epochs = [epoch(1, "x", { releasedAt: 9 })];
    expect(plan(epochs, local("x", 9, { rollingChecksum }))).toMatchObject({ action: "continue" });
    const other = local("x", 9, { rollingChecksum: "8000000000000002" });
    expect(plan(epochs, other)).toMatchObject({ action: "begin" });
  });

  it("branches off from an earlier moment that was restored, though the timeline is its own", () => {
    const restored = local("x", 5, { restored: true, storedTxid: toTxid(9) });
    expect(plan([epoch(1, "x", { releasedAt: 9 })], restored)).toMatchObject({
      action: "begin",
      parent: { timeline: "x", txid: 5n },
    });
  });

  it("names no branch point that the store does not have", () => {
    const epochs = [epoch(1, "x"), epoch(2, "y")];
    const ahead = local("x", 9, { storedTxid: toTxid(6) });
    expect(plan(epochs, ahead)).toMatchObject({ parent: { timeline: "x", txid: 6n } });
    expect(plan(epochs, local("x", 9, { storedTxid: undefined }))).toMatchObject({ parent: null });
    expect(plan(epochs, local("z", 9))).toMatchObject({ parent: null });
  });
});
