import type { UseSpan } from "@vaultwarden-stream/file-sync";
import { formatBytes, formatCount, formatTime } from "wal-replicator/command-line";
import type { BadObject, FilesVerification, ProofsVerification } from "./files-verification.ts";

export function describeFilesVerification(files: FilesVerification): string[] {
  const { manifests, found, bytes, bytesRead, bad, delayed, uploading, stoppedAt } = files;
  if (manifests.length === 0 && bad.length === 0) return ["files: no state of them is stored"];
  const verdict = bad.length === 0 ? "sound" : formatCount(bad.length, "problem");
  const share = bytes === 0 ? 100 : Math.floor((100 * bytesRead) / bytes);
  return [
    `files: ${verdict}`,
    ...bad.flatMap(describeBad),
    `  ${formatCount(found, "content")} found, ${formatBytes(bytes)} in all, of ${formatCount(manifests.length, "state")}`,
    `  read ${formatBytes(bytesRead)} (${share} %)${stoppedAt === null ? "" : "; the time was over"}`,
    ...(uploading === 0
      ? []
      : [`  ${formatCount(uploading, "content")} uploading, or to be pruned: no state names them`]),
    ...(delayed === null || delayed === 0
      ? []
      : [`  ${formatCount(delayed, "file")} delayed: the daemon here has not stored them yet`]),
  ];
}

export function describeProofs({ count, lastProved, bad }: ProofsVerification): string[] {
  const last = lastProved === null ? "never proved" : `last proved ${lastProved}`;
  return [`restore drills: ${formatCount(count, "proof")}, ${last}`, ...bad.flatMap(describeBad)];
}

function describeBad({ object, path, paths, why, costs, note }: BadObject): string[] {
  const head = path === null ? `  BAD ${object}: ${why}` : `  BAD ${path}: ${why} (${object})`;
  const others = paths.filter((one) => one !== path);
  return [
    head,
    ...(others.length === 0 ? [] : [`    also ${others.join(", ")}`]),
    ...costs.map((cost) => `    costs ${describeSpan(cost)}`),
    ...(note === null ? [] : [`    costs ${note}`]),
  ];
}

function describeSpan({ timeline, from, to }: UseSpan): string {
  const until = to === null ? "on" : `until ${formatTime(to)}`;
  return `restores to moments from ${formatTime(from)} ${until}, of timeline ${timeline}`;
}
