import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import {
  formatEpochKey,
  formatLtxKey,
  formatTimelineName,
  isTimelineName,
  parseEpochKey,
  parseLtxKey,
  parseTimelineName,
  timelinePrefix,
} from "./replica-layout.ts";

const name = "0000000000000003-000000000000000a.ltx";
const parts = { minTxid: toTxid(3), maxTxid: toTxid(10) };

describe("keys of LTX files", () => {
  it("have the layout of Litestream's file back end, or of its S3 back end", () => {
    expect(formatLtxKey({ level: 9, ...parts }, "directory")).toBe(`ltx/9/${name}`);
    expect(formatLtxKey({ level: 9, ...parts }, "s3")).toBe(`0009/${name}`);
  });

  it("are read in both layouts, for every level", () => {
    for (let level = 0; level <= 9; level += 1) {
      for (const syntax of ["directory", "s3"] as const) {
        const key = formatLtxKey({ level, ...parts }, syntax);
        expect(parseLtxKey(key)).toEqual({ level, ...parts, syntax });
      }
    }
  });

  it.each([
    `ltx/00/${name}`,
    `ltx/10/${name}`,
    `ltx/x/${name}`,
    `000a/${name}`,
    `0010/${name}`,
    `9/${name}`,
    `ltx/0/sub/${name}`,
    `0000/../${name}`,
    `ltx/0/${name}.tmp`,
    `ltx/0/${name.toUpperCase()}`,
    "ltx/0/000000000000000a-0000000000000003.ltx",
    "ltx/0/0000000000000000-0000000000000001.ltx",
    "0000/",
    "",
  ])("are passed over if they are anything else: %j", (key) => {
    expect(parseLtxKey(key)).toBeUndefined();
  });
});

describe("keys of epochs", () => {
  it("are read as they are written", () => {
    for (const object of ["record", "lease", "released"] as const) {
      for (const nonce of [undefined, "0a1b2c3d"]) {
        const id = { epoch: 7, nonce };
        expect(parseEpochKey(formatEpochKey(id, object))).toEqual({ ...id, object });
      }
    }
    expect(formatEpochKey({ epoch: 7, nonce: undefined }, "released")).toBe(
      "epochs/00000007.released.json",
    );
    expect(formatEpochKey({ epoch: 7, nonce: "0a1b2c3d" }, "lease")).toBe(
      "epochs/00000007-0a1b2c3d.lease.json",
    );
  });

  it.each([
    "epochs/00000007.other.json",
    "epochs/00000007-0a1b2c3.json",
    "epochs/00000007-0A1B2C3D.json",
    "epochs/00000000.json",
    "epochs/7.json",
    "epochs/000000071.json",
    "epochs/0000000a.json",
    "other/epochs/00000007.json",
  ])("are passed over if they are anything else: %j", (key) => {
    expect(parseEpochKey(key)).toBeUndefined();
  });
});

describe("timelines", () => {
  it("are named by the epoch that began them and its nonce", () => {
    const timeline = formatTimelineName(12, "0123456789abcdef0123456789abcdef");
    expect(timeline).toBe("00000012-01234567");
    expect(isTimelineName(timeline)).toBe(true);
    expect(parseTimelineName(timeline)).toEqual({ epoch: 12, nonce: "01234567" });
    expect(timelinePrefix("db/", timeline)).toBe("db/00000012-01234567/");
  });

  it.each(["", "..", "00000012-0123456", "00000012-0123456g", "a/00000012-01234567"])(
    "are not named %j",
    (text) => {
      expect(isTimelineName(text)).toBe(false);
    },
  );
});
