import { ReplicationError } from "../errors.ts";
import type { StartPlan } from "./plan-start.ts";

/** A plan that starts nothing, as the error that says so. */
export function refusal(plan: Extract<StartPlan, { action: "held" | "stop" }>): ReplicationError {
  return plan.action === "stop"
    ? new ReplicationError("START_REFUSED", plan.why, plan.next)
    : new ReplicationError(
        "HELD",
        plan.why,
        "Stop the other one, or wait until its lease is stale, or take over explicitly.",
      );
}
