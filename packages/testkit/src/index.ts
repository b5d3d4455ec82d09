export type { ChildExit, ChildOptions, RunningChild } from "./child-process.ts";
export { runTypeScriptChild, startTypeScriptChild } from "./child-process.ts";
export type { CrashChild, CrashChildOptions, CrashExit } from "./crash-child.ts";
export {
  argumentsWithoutCrashPoint,
  crashPointsFromArguments,
  startCrashChild,
} from "./crash-child.ts";
export type { DatabaseImage } from "./database-image.ts";
export { readDatabaseImage, readThroughSqlite } from "./database-image.ts";
export type { DescribeFunction, PeerName, PeerSearch } from "./find-peer.ts";
export { describePeer, findPeer, requirePeer } from "./find-peer.ts";
export type { Prng } from "./prng.ts";
export { createPrng, seedFromEnvironment } from "./prng.ts";
export { findSqliteShell, startShellWorkload } from "./shell-workload.ts";
export type {
  Workload,
  WorkloadCheck,
  WorkloadCommit,
  WorkloadOptions,
} from "./sqlite-workload.ts";
export { checkWorkloadDatabase, startWorkload } from "./sqlite-workload.ts";
export type {
  VaultAccount,
  VaultAttachment,
  VaultItem,
  VaultSend,
  VaultTokens,
} from "./vault-client.ts";
export { login, registerAndLogin, VaultClient, VaultClientError } from "./vault-client.ts";
export type { StandIn, StandInOptions } from "./vaultwarden-stand-in.ts";
export { standInEntry, startStandIn } from "./vaultwarden-stand-in.ts";
export type { StatementKind } from "./workload-plan.ts";
