import { formatBytes, formatCount, formatDuration } from "wal-replicator/command-line";
import type { Proof } from "./proof.ts";

const verdicts: Readonly<Record<Proof["outcome"], string>> = {
  proved: "restore proved",
  failed: "RESTORE FAILED",
  inconclusive: "nothing was found out",
};

/** For people, in one line: `restore proved: the database at … (TXID …, 1.2 MB in 0.3 s), 12 of 12 contents compared`. */
export function describeProof(proof: Proof): string {
  const { outcome, reasons, database, files, at, txid } = proof;
  const parts: string[] = [];
  if (database !== null) {
    const checksum = database.isRollingChecksumProved ? "" : ", without a recorded checksum";
    parts.push(
      `the database at ${at} (TXID ${txid}, ${formatBytes(database.bytes)} in ${formatDuration(database.durationMs)}${checksum})`,
    );
  }
  if (files !== null) {
    const { compared, total, comparedBytes, part } = files;
    const share = part.t > 1 ? `, part ${part.n} of about ${part.t}` : "";
    parts.push(
      `${compared} of ${formatCount(total, "content")} compared (${formatBytes(comparedBytes)}${share})`,
    );
  }
  const found = parts.length === 0 ? "" : `: ${parts.join(", ")}`;
  return `${verdicts[outcome]}${found}${reasons.length === 0 ? "" : `; ${reasons.join("; ")}`}`;
}

/** What somebody should know although it was proved. */
export function warningsOf({ database, files }: Proof): string[] {
  const missing = files?.missing ?? [];
  return [
    ...(database?.damaged ?? []).map((key) => `${key} is damaged; other files made up for it`),
    ...(missing.length === 0
      ? []
      : [
          `${formatCount(missing.length, "file")} that the database names was never stored: ${missing.slice(0, 20).join(", ")}`,
        ]),
  ];
}
