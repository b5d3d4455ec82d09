import type { Catalog, ReplicaFile } from "../replica/catalog.ts";
import { planRestore } from "../restore/plan-restore.ts";
import type { MaintenancePolicy } from "./policy.ts";

/**
 * Whether it is time for a snapshot, a full copy that restores begin with. Pure.
 *
 * It is once the increments that the newest state needs exceed `snapshotGrowth` of its base, `snapshotIntervalMs` after that at the earliest;
 * or `snapshotAtLeastMs` after it, if there is any increment; or at once where a file is missing between the two, since without one the
 * newest state cannot be restored. A base that is dated in the future says nothing of its age: then growth alone decides.
 *
 * @param catalog - of one timeline. Without a base it is not time: the first one is on its way (`ship/base.ts`).
 */
export function isSnapshotDue(catalog: Catalog, policy: MaintenancePolicy, nowMs: number): boolean {
  const plan = planRestore(catalog.files);
  if (plan.outcome === "hole") return true;
  if (plan.outcome !== "plan") return false;
  const [base, ...increments] = plan.files as [ReplicaFile, ...ReplicaFile[]];
  if (increments.length === 0) return false;
  const ageMs = nowMs - base.createdAt.getTime();
  if (ageMs >= policy.snapshotAtLeastMs) return true;
  const bytes = increments.reduce((sum, { size }) => sum + size, 0);
  const isOldEnough = ageMs >= policy.snapshotIntervalMs || ageMs < 0;
  return isOldEnough && bytes > policy.snapshotGrowth * base.size;
}
