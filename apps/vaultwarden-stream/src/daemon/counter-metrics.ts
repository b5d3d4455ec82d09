import type { Family, Sample } from "./metrics-text.ts";
import type { CounterReadings } from "./stream-counters.ts";

/** What was done since the daemon began: each number only grows. */
export function counterFamilies(counters: CounterReadings): readonly Family[] {
  const { usage } = counters;
  const levels = [...counters.uploads].toSorted(([a], [b]) => a - b);
  const byLevel = (value: (of: { files: number; bytes: number }) => number): readonly Sample[] =>
    levels.map(([level, of]) => ({ labels: { level: String(level) }, value: value(of) }));
  return [
    counter("captures_total", "Captures: each became one file in the spool.", counters.captures),
    counter("captured_bytes_total", "Their size.", counters.capturedBytes),
    {
      name: "uploads_total",
      help: "Files of the database that the store has confirmed: level 0 are commits, 1 to 8 merged files, 9 full copies.",
      type: "counter",
      samples: byLevel(({ files }) => files),
    },
    {
      name: "upload_bytes_total",
      help: "Their size.",
      type: "counter",
      samples: byLevel(({ bytes }) => bytes),
    },
    counter("checkpoints_total", "Checkpoints of the WAL by us.", counters.checkpoints),
    counter(
      "retention_deleted_files_total",
      "Files that no moment needs any more, deleted.",
      counters.deletedFiles,
    ),
    counter("retention_deleted_bytes_total", "Their size.", counters.deletedBytes),
    counter(
      "store_failures_total",
      "How often uploads began to fail, each cause once.",
      counters.storeFailures,
    ),
    counter(
      "maintenance_failures_total",
      "How often merging, a snapshot or removing began to fail.",
      counters.maintenanceFailures,
    ),
    {
      name: "stalls_total",
      help: "How often a stage stood still without an error.",
      type: "counter",
      samples: [...counters.stalls].map(([stage, value]) => ({ labels: { stage }, value })),
    },
    {
      name: "store_requests_total",
      help: "Requests to the store that were answered, or failed.",
      type: "counter",
      samples: (usage?.requests ?? []).map(({ operation, outcome, count }) => ({
        labels: { operation, outcome: outcome.toLowerCase() },
        value: count,
      })),
    },
    counter("store_sent_bytes_total", "Bodies that were sent.", usage?.bytesUp ?? null),
    counter("store_received_bytes_total", "Bodies that were read.", usage?.bytesDown ?? null),
  ];
}

function counter(name: string, help: string, value: number | null): Family {
  return { name, help, type: "counter", samples: [{ value }] };
}
