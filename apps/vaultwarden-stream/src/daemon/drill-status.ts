import { z } from "zod";

/** Restore drills, as the status file says it. Times are RFC 3339. */
export interface DrillStatus {
  /** Between two of them, in milliseconds. */
  readonly intervalMs: number;
  /** How long no restore may have been proved, in milliseconds; null: nobody counts on it, since this process may not live so long. */
  readonly ageMsMax: number | null;
  /** Of the newest one, whoever ran it; null: none is known. */
  readonly outcome: "proved" | "failed" | "inconclusive" | null;
  readonly endedAt: string | null;
  readonly message: string | null;
  /** Of its proof in the store; null: there is none. */
  readonly key: string | null;
}

export const drillStatus: z.ZodType<DrillStatus> = z.object({
  intervalMs: z.int().positive(),
  ageMsMax: z.int().positive().nullable(),
  outcome: z.enum(["proved", "failed", "inconclusive"]).nullable(),
  endedAt: z.string().nullable(),
  message: z.string().nullable(),
  key: z.string().nullable(),
});
