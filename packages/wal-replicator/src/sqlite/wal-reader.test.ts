import { describe, expect, test } from "vitest";
import { InvariantError } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";
import { readGolden } from "./golden-wals.ts";
import { type BuiltFrame, buildWal, headerOf, sourceOf } from "./wal-builder.ts";
import { addFrameToSums, frameHeaderBytes, frameOffset, walFrameBytes } from "./wal-frame.ts";
import { decodeWalHeader } from "./wal-header.ts";
import {
  findLatestFrames,
  formatWalPosition,
  parseWalPosition,
  scanWal,
  startOfWal,
  verifyFrameAt,
  type WalPosition,
  type WalScan,
} from "./wal-reader.ts";

const fields = {
  order: "little-endian",
  pageSize: 512,
  sequence: 3,
  salt: { salt1: 0x81020304, salt2: 0xf5060708 },
} as const;
const everything = 0xffffffff;

/** `[pgno, commit]` of each frame; every page is different. */
function walOf(...frames: readonly (readonly [number, number])[]): Uint8Array<ArrayBuffer> {
  return buildWal(
    fields,
    frames.map(([pgno, commit], frameIndex): BuiltFrame => {
      return { pgno, commit, page: new Uint8Array(fields.pageSize).fill(frameIndex + 1) };
    }),
  );
}

function scanAll(
  wal: Uint8Array,
  from: WalPosition = startOfWal(headerOf(wal)),
  frameLimit: number = everything,
): WalScan {
  const step = scanWal(sourceOf(wal), headerOf(wal), from, frameLimit).next();
  if (step.done !== true) throw new Error("a small WAL takes one block");
  return step.value;
}

function latestOf(scan: WalScan): [number, number][] {
  const { count, pgnos, frameIndexes } = scan.frames.latest(scan.commit);
  return Array.from({ length: count }, (_, index) => [
    pgnos[index] as number,
    frameIndexes[index] as number,
  ]);
}

describe("scanWal", () => {
  const wal = walOf([1, 0], [2, 2], [3, 0], [2, 0], [1, 3], [4, 0]);

  test("frames count up to the last commit frame", () => {
    const scan = scanAll(wal);
    expect(scan).toMatchObject({ stop: "end", commit: 3, end: { frameCount: 5 } });
    expect(latestOf(scan)).toEqual([
      [1, 4],
      [2, 3],
      [3, 2],
    ]);
    expect(scan.frames.frameCount).toBe(5);
  });

  test("a scan from a position reads what is behind it alone", () => {
    const first = scanAll(wal, undefined, 2);
    expect(first).toMatchObject({ stop: "limit", commit: 2, end: { frameCount: 2 } });
    const second = scanAll(wal, first.end);
    expect(second.end).toEqual(scanAll(wal).end);
    expect(latestOf(second)).toEqual([
      [1, 4],
      [2, 3],
      [3, 2],
    ]);
  });

  test("without a commit frame the end is where the scan began", () => {
    const { end } = scanAll(wal);
    const scan = scanAll(wal, end);
    expect(scan).toMatchObject({ stop: "end", commit: 0, end });
    expect(latestOf(scan)).toEqual([]);
  });

  test("a limit at the position reads nothing", () => {
    const { end } = scanAll(wal);
    const unreadable: ByteSource = {
      read: () => {
        throw new Error("read");
      },
    };
    for (const frameLimit of [end.frameCount, end.frameCount - 1, 0]) {
      const step = scanWal(unreadable, headerOf(wal), end, frameLimit).next();
      expect(step).toMatchObject({ done: true, value: { stop: "limit", end, commit: 0 } });
    }
  });

  test("a limit inside a transaction leaves the transaction out", () => {
    expect(scanAll(wal, undefined, 4)).toMatchObject({ stop: "limit", end: { frameCount: 2 } });
  });

  test("pages beyond the size of a later, smaller database are left out", () => {
    expect(latestOf(scanAll(walOf([1, 0], [9, 9], [1, 2])))).toEqual([[1, 2]]);
  });

  test("a repeated commit frame counts", () => {
    const scan = scanAll(walOf([1, 0], [2, 2], [2, 2]));
    expect(scan.end.frameCount).toBe(3);
    expect(latestOf(scan)).toEqual([
      [1, 0],
      [2, 2],
    ]);
  });

  test("page number 0 is no frame, even with right sums", () => {
    const scan = scanAll(walOf([1, 1], [0, 1], [1, 1]));
    expect(scan).toMatchObject({ stop: "checksum-mismatch", end: { frameCount: 1 } });
  });

  test("an older generation behind the commit stops the scan", () => {
    const older = buildWal({ ...fields, salt: { salt1: 1, salt2: 2 } }, [
      { pgno: 1, commit: 1, page: new Uint8Array(512) },
      { pgno: 2, commit: 2, page: new Uint8Array(512) },
    ]);
    older.set(walOf([1, 1]));
    expect(scanAll(older)).toMatchObject({ stop: "salt-changed", end: { frameCount: 1 } });
  });

  test("a position of another generation is a mistake of the caller", () => {
    const from = { ...startOfWal(headerOf(wal)), salt: { salt1: 1, salt2: 2 } };
    expect(() => scanAll(wal, from)).toThrow(InvariantError);
  });

  test("a large WAL is read in blocks, with a yield between two", () => {
    const pageSize = 65_536;
    const large = buildWal(
      { ...fields, pageSize },
      Array.from({ length: 40 }, (_, index) => {
        return { pgno: index + 1, commit: index === 39 ? 40 : 0, page: new Uint8Array(pageSize) };
      }),
    );
    let mostBytes = 0;
    const source: ByteSource = {
      read: (target, position) => {
        mostBytes = Math.max(mostBytes, target.length);
        return sourceOf(large).read(target, position);
      },
    };
    const header = headerOf(large);
    const scan = scanWal(source, header, startOfWal(header), 40);
    let yields = 0;
    let step = scan.next();
    for (; step.done !== true; step = scan.next()) yields += 1;
    expect(step.value).toMatchObject({ stop: "limit", commit: 40, end: { frameCount: 40 } });
    expect(mostBytes).toBeLessThanOrEqual(1 << 20);
    expect(yields).toBe(2);
  });
});

/** Goal: no damage passes, and none does more than end the scan early. Method: a small WAL by SQLite, each byte, each length. */
describe("a damaged WAL", () => {
  const { wal } = readGolden("ok").files;
  const header = headerOf(wal);
  const frameBytes = walFrameBytes(header.pageSize);
  const frameCount = (wal.length - 32) / frameBytes;
  const positions = Array.from({ length: frameCount + 1 }, (_, limit) => {
    return scanAll(wal, undefined, limit).end;
  });

  test("with any byte changed ends at the last commit before the change, with the reason", () => {
    for (let at = 32; at < wal.length; at++) {
      const damaged = wal.slice();
      damaged[at] = (damaged[at] as number) ^ (1 + (at % 255));
      const frameIndex = Math.floor((at - 32) / frameBytes);
      const field = (at - 32) % frameBytes;
      const scan = scanAll(damaged);
      expect(scan.stop).toBe(field >= 8 && field < 16 ? "salt-changed" : "checksum-mismatch");
      expect(scan.end).toEqual(positions[frameIndex]);
      expect(scan.frames.frameCount).toBe(scan.end.frameCount);
    }
    for (let at = 0; at < 32; at++) {
      const damaged = wal.slice();
      damaged[at] = (damaged[at] as number) ^ (1 + (at % 255));
      expect(decodeWalHeader(damaged)).toBe("torn");
    }
  });

  test("cut at any byte ends at the last commit before the cut, with the reason", () => {
    for (let length = 32; length < wal.length; length++) {
      const scan = scanAll(wal.subarray(0, length));
      const whole = Math.floor((length - 32) / frameBytes);
      expect(scan.stop).toBe((length - 32) % frameBytes === 0 ? "end" : "partial-frame");
      expect(scan.end).toEqual(positions[whole]);
    }
  });
});

describe("a position", () => {
  const position: WalPosition = {
    salt: { salt1: 0x01020304, salt2: 0xfffffffe },
    frameCount: 258,
    sums: { s0: 0, s1: 0x80000000 },
  };
  const text = "01020304fffffffe000001020000000080000000";

  test("reads back from its 40 hex digits", () => {
    expect(formatWalPosition(position)).toBe(text);
    expect(parseWalPosition(text)).toEqual(position);
  });

  test("is not read from any other text", () => {
    for (const other of ["", text.slice(1), `${text}0`, text.toUpperCase(), ` ${text.slice(1)}`]) {
      expect(parseWalPosition(other)).toBeUndefined();
    }
  });
});

describe("frames that SQLite left unsealed", () => {
  /** Takes salts and sums out of a frame, and lets the frames behind it continue from sums of zero, as SQLite 3.40 does. */
  function unseal(
    wal: Uint8Array<ArrayBuffer>,
    ...frameIndexes: readonly number[]
  ): Uint8Array<ArrayBuffer> {
    const view = new DataView(wal.buffer);
    const frameCount =
      (wal.length - frameOffset(0, fields.pageSize)) / walFrameBytes(fields.pageSize);
    const sums = { ...headerOf(wal).sums };
    for (let frameIndex = 0; frameIndex < frameCount; frameIndex++) {
      const offset = frameOffset(frameIndex, fields.pageSize);
      if (frameIndexes.includes(frameIndex)) {
        wal.fill(0, offset + 8, offset + frameHeaderBytes);
        Object.assign(sums, { s0: 0, s1: 0 });
        continue;
      }
      addFrameToSums(sums, view, offset, fields.pageSize, fields.order);
      view.setUint32(offset + 16, sums.s0);
      view.setUint32(offset + 20, sums.s1);
    }
    return wal;
  }

  test("count below the limit, where the wal-index vouches for them", () => {
    const wal = unseal(walOf([1, 2], [2, 0], [1, 0], [3, 3], [2, 3]), 1, 2);
    const scan = scanAll(wal, undefined, 5);
    expect(scan).toMatchObject({ stop: "limit", commit: 3, end: { frameCount: 5 } });
    expect(latestOf(scan)).toEqual([
      [1, 2],
      [2, 4],
      [3, 3],
    ]);
    expect(verifyFrameAt(sourceOf(wal), headerOf(wal), scan.end)).toBe("match");
    expect(findLatestFrames(sourceOf(wal), headerOf(wal), 3, [1])).toEqual(new Map([[1, 2]]));
  });

  test("may be the last of a transaction: the next one is read from there, whatever its sums continue", () => {
    const wal = unseal(walOf([1, 2], [2, 2], [1, 2]), 1);
    const position = scanAll(wal, undefined, 2).end;
    expect(verifyFrameAt(sourceOf(wal), headerOf(wal), position)).toBe("match");
    new DataView(wal.buffer).setUint32(frameOffset(2, fields.pageSize) + 20, 12345);
    const scan = scanAll(wal, position, 3);
    expect(scan).toMatchObject({ stop: "limit", end: { frameCount: 3 } });
    expect(verifyFrameAt(sourceOf(wal), headerOf(wal), scan.end)).toBe("match");
  });

  test("are none where the whole header is zero: that is a hole in the file", () => {
    const wal = walOf([1, 2], [2, 2]);
    wal.fill(0, frameOffset(1, fields.pageSize));
    expect(scanAll(wal, undefined, 2)).toMatchObject({
      stop: "salt-changed",
      end: { frameCount: 1 },
    });
  });
});

describe("verifyFrameAt", () => {
  const wal = walOf([1, 0], [2, 2], [1, 2]);
  const header = headerOf(wal);
  const verify = (bytes: Uint8Array, frameCount: number) =>
    verifyFrameAt(sourceOf(bytes), header, {
      ...scanAll(wal, undefined, frameCount).end,
    });

  test("every position that a scan ended at matches", () => {
    expect(verify(wal, 2)).toBe("match");
    expect(verify(wal, 3)).toBe("match");
    const single = walOf([1, 1]);
    expect(verifyFrameAt(sourceOf(single), headerOf(single), scanAll(single).end)).toBe("match");
  });

  test("the start of a WAL has no frame", () => {
    expect(verifyFrameAt(sourceOf(wal), header, startOfWal(header))).toBe("no-frame");
  });

  test("a file that ends before the position is short", () => {
    for (let length = 32; length < wal.length; length++) {
      expect(verify(wal.subarray(0, length), 3)).toBe("short");
    }
    expect(verify(wal.subarray(0, frameOffset(2, 512)), 2)).toBe("match");
  });

  test("a frame with any byte changed is a mismatch, also where only its page changed", () => {
    for (let at = frameOffset(2, 512); at < wal.length; at++) {
      // The commit field and the salts are covered too: by the sums, and by the position.
      const damaged = wal.slice();
      damaged[at] = (damaged[at] as number) ^ 1;
      expect(verify(damaged, 3)).toBe("mismatch");
    }
  });

  test("another commit of the same length in its place is a mismatch", () => {
    const ghost = buildWal(fields, [
      { pgno: 1, commit: 0, page: new Uint8Array(512).fill(1) },
      { pgno: 2, commit: 2, page: new Uint8Array(512).fill(2) },
      { pgno: 1, commit: 2, page: new Uint8Array(512).fill(99) },
    ]);
    expect(verify(ghost, 2)).toBe("match");
    expect(verify(ghost, 3)).toBe("mismatch");
  });

  test("the same frame behind a changed one is a mismatch", () => {
    const damaged = wal.slice();
    const sumsOfFrame1 = frameOffset(1, 512) + 16;
    damaged[sumsOfFrame1] = (damaged[sumsOfFrame1] as number) ^ 1;
    expect(verify(damaged, 3)).toBe("mismatch");
  });
});

describe("findLatestFrames", () => {
  const wal = walOf([1, 0], [5, 5], [5, 0], [7, 7], [5, 7]);
  const header = headerOf(wal);
  const find = (bytes: Uint8Array, frameLimit: number, pgnos: number[]) =>
    Object.fromEntries(findLatestFrames(sourceOf(bytes), header, frameLimit, pgnos));

  test("the newest frame below the limit is found, and pages without one are left out", () => {
    expect(find(wal, 5, [1, 5, 6])).toEqual({ 1: 0, 5: 4 });
    expect(find(wal, 4, [5, 7])).toEqual({ 5: 2, 7: 3 });
    expect(find(wal, 1, [5])).toEqual({});
    expect(find(wal, 0, [1])).toEqual({});
  });

  test("nothing is read for no pages", () => {
    const source: ByteSource = {
      read: () => {
        throw new Error("read");
      },
    };
    expect(findLatestFrames(source, header, 5, []).size).toBe(0);
  });

  test("frames of another generation and frames cut off meanwhile are passed over", () => {
    const changed = wal.slice();
    changed[frameOffset(4, 512) + 8] = 0;
    expect(find(changed, 5, [5])).toEqual({ 5: 2 });
    expect(find(wal.subarray(0, frameOffset(4, 512) + frameHeaderBytes), 5, [5])).toEqual({ 5: 2 });
    expect(find(wal.subarray(0, 32), 5, [5])).toEqual({});
  });
});
