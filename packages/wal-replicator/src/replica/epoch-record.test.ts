import { sealJson } from "@vaultwarden-stream/object-store";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import {
  decodeEpochLease,
  decodeEpochRecord,
  decodeEpochRelease,
  encodeEpochLease,
  encodeEpochRecord,
  encodeEpochRelease,
} from "./epoch-record.ts";
import { recordFor } from "./epoch-testing.ts";
import { ReplicaError } from "./replica-error.ts";

const id = { epoch: 1, nonce: undefined };
const valid = recordFor("a")(1);
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe("decodeEpochRecord", () => {
  it.each([
    ["version", 2],
    ["epoch", 2],
    ["nonce", "0".repeat(31)],
    ["nonce", "G".repeat(32)],
    ["kind", "reader"],
    ["kind", null],
    ["timeline", "../../etc"],
    ["timeline", ""],
    ["parent", undefined],
    ["parent", { timeline: "../x", txid: "0000000000000001" }],
    ["parent", { timeline: valid.timeline, txid: "1" }],
    ["parent", { timeline: valid.timeline, txid: 1 }],
    ["owner", null],
    ["owner", { ...valid.owner, pid: -1 }],
    ["owner", { ...valid.owner, pid: 1e300 }],
    ["owner", { ...valid.owner, host: "h".repeat(257) }],
    ["owner", { ...valid.owner, installation: { hostId: "", spoolInode: 1, spoolBornAt: "2" } }],
    ["startedAt", "yesterday"],
    ["startedAt", "2026-99-99T00:00:00Z"],
  ])("refuses %s %j, and names the field", (field, value) => {
    expect(() => decodeEpochRecord(encode({ ...valid, [field]: value }), id, "k")).toThrow(field);
  });

  it("takes a record of an earlier version, which has no kind, for a writer's", () => {
    const { kind: _, ...earlier } = valid;
    expect(decodeEpochRecord(encode(earlier), id, "k")).toEqual(valid);
  });

  it("passes over fields that a later version added", () => {
    const later = sealJson(JSON.stringify({ ...valid, note: "x" }));
    expect(decodeEpochRecord(later, id, "k")).toEqual(valid);
    expect(() => decodeEpochRecord(encode({ ...valid, note: "x" }), id, "k")).toThrow('"note"');
  });

  it("refuses a record of which any byte has changed", () => {
    const bytes = encodeEpochRecord(valid);
    for (let at = 0; at < bytes.length; at += 1) {
      for (const bit of [1, 2, 4, 32]) {
        const changed = bytes.slice();
        changed[at] = (changed[at] ?? 0) ^ bit;
        expect(() => decodeEpochRecord(changed, id, "k"), `byte ${at}`).toThrow(ReplicaError);
      }
    }
  });

  it("refuses another's record under a key with a nonce, and keeps what its other keys are", () => {
    const keyed = { epoch: 1, nonce: "a0000000" };
    expect(decodeEpochRecord(encodeEpochRecord(valid), keyed, "k")).toMatchObject({
      keyedByNonce: true,
    });
    expect(() =>
      decodeEpochRecord(encodeEpochRecord(valid), { epoch: 1, nonce: "b0000000" }, "k"),
    ).toThrow("nonce");
    const copied = encodeEpochRecord({ ...valid, keyedByNonce: true });
    expect(decodeEpochRecord(copied, id, "k").keyedByNonce).toBe(true);
  });
});

describe("leases and releases", () => {
  const { nonce, owner } = valid;

  it("are read as they are written", () => {
    const release = {
      nonce,
      txid: toTxid(5),
      rollingChecksum: "8000000000000001",
      releasedAt: "2026-11-24T22:00:00Z",
    };
    expect(decodeEpochRelease(encodeEpochRelease(release), "k")).toEqual(release);
    for (const txid of [null, toTxid(7)]) {
      const lease = { nonce, owner, renewedAt: "2026-11-24T22:00:00Z", txid };
      expect(decodeEpochLease(encodeEpochLease(lease), "k")).toEqual(lease);
    }
  });

  it("of an earlier version have no nonce", () => {
    const earlier = {
      version: 1,
      txid: "0000000000000005",
      rollingChecksum: "8000000000000001",
      releasedAt: "2026-11-24T22:00:00Z",
    };
    expect(decodeEpochRelease(encode(earlier), "k")).toMatchObject({ nonce: null, txid: 5n });
    expect(() => decodeEpochRelease(encode({ ...earlier, nonce: "x" }), "k")).toThrow(ReplicaError);
  });
});

it("any JSON is answered with a value or a coded error", () => {
  const nearlyValid = fc
    .tuple(fc.constantFrom(...Object.keys(valid)), fc.jsonValue())
    .map(([field, value]) => ({ ...valid, [field]: value }));
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), nearlyValid), (value) => {
      for (const decode of [
        (bytes: Uint8Array) => decodeEpochRecord(bytes, id, "k"),
        (bytes: Uint8Array) => decodeEpochRelease(bytes, "k"),
        (bytes: Uint8Array) => decodeEpochLease(bytes, "k"),
      ]) {
        try {
          decode(encode(value));
        } catch (error) {
          expect(error).toBeInstanceOf(ReplicaError);
        }
      }
    }),
  );
});
