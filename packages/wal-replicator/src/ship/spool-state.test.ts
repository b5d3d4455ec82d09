import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { decodeSpoolState, encodeSpoolState, type SpoolState } from "./spool-state.ts";

const state: SpoolState = {
  version: 1,
  timeline: "00000003-0a1b2c3d",
  position: {
    txid: toTxid(0xabcn),
    pageSize: 65536,
    pageCount: 9,
    rollingChecksum: "8123456789abcdef",
  },
  storedTxid: toTxid(0xabbn),
  restored: false,
  generations: [{ salt: { salt1: 1, salt2: 0xffffffff }, rollingChecksum: "8000000000000000" }],
};

describe("spool state", () => {
  it.each<[string, SpoolState]>([
    ["a full one", state],
    [
      "one without a position",
      { ...state, position: undefined, storedTxid: undefined, generations: [] },
    ],
  ])("decodes what was encoded: %s", (_, given) => {
    expect(decodeSpoolState(encodeSpoolState(given))).toEqual(given);
  });

  it("takes a torn file for no state, wherever it is cut", () => {
    const text = encodeSpoolState(state);
    for (let length = 0; length < text.trimEnd().length; length++) {
      expect(decodeSpoolState(text.slice(0, length))).toBeUndefined();
    }
  });

  it.each([
    ["another version", { version: 2 }],
    ["a timeline that leads out of the spool", { timeline: "../x" }],
    [
      "a position without a checksum",
      { position: { txid: "0000000000000001", pageSize: 4096, pageCount: 1 } },
    ],
    ["a TXID that is none", { storedTxid: "zz" }],
    ["generations that are no list", { generations: {} }],
    [
      "a generation with bad salts",
      { generations: [{ salt: "x", rollingChecksum: "8000000000000000" }] },
    ],
  ])("refuses %s", (_, changed) => {
    const value = { ...(JSON.parse(encodeSpoolState(state)) as object), ...changed };
    expect(decodeSpoolState(JSON.stringify(value))).toBeUndefined();
  });
});
