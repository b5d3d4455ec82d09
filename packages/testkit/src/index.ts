export type { ChildExit, ChildOptions, RunningChild } from "./child-process.ts";
export { runTypeScriptChild, startChild, startTypeScriptChild } from "./child-process.ts";
export type { CrashChild, CrashChildOptions, CrashExit } from "./crash-child.ts";
export {
  argumentsWithoutCrashPoint,
  crashPointsFromArguments,
  startCrashChild,
} from "./crash-child.ts";
export type { DatabaseImage } from "./database-image.ts";
export { readDatabaseImage, readThroughSqlite } from "./database-image.ts";
export type { Canary, CanarySighting } from "./find-canaries.ts";
export { findCanaries } from "./find-canaries.ts";
export type { DescribeFunction, PeerName, PeerSearch } from "./find-peer.ts";
export { describePeer, findPeer, requirePeer } from "./find-peer.ts";
export type { Prng } from "./prng.ts";
export { createPrng, seedFromEnvironment } from "./prng.ts";
export type { RealS3Server } from "./s3/real-s3-servers.ts";
export { startMinio, startVersityGw } from "./s3/real-s3-servers.ts";
export type { S3Object } from "./s3/s3-bucket.ts";
export type {
  S3Fault,
  S3FaultMatch,
  S3FaultPlan,
  S3FaultPlanData,
  S3FaultRequest,
  S3FaultRule,
  S3RandomFaults,
} from "./s3/s3-faults.ts";
export { transientS3Faults } from "./s3/s3-faults.ts";
export type { S3Personality, S3PersonalityName } from "./s3/s3-personalities.ts";
export { s3Personalities } from "./s3/s3-personalities.ts";
export type { S3Operation } from "./s3/s3-request.ts";
export type { S3Server, S3ServerOptions } from "./s3/s3-server.ts";
export { startS3Server } from "./s3/s3-server.ts";
export type { S3ServerProcess, S3ServerProcessOptions } from "./s3/s3-server-process.ts";
export { startS3ServerProcess } from "./s3/s3-server-process.ts";
export type { S3RequestLogEntry } from "./s3/s3-service.ts";
export type { S3RawAnswer, S3RawRequest, S3Target } from "./s3/send-s3-request.ts";
export { sendS3Request } from "./s3/send-s3-request.ts";
export type { S3Credentials } from "./s3/sigv4.ts";
export { findSqliteShell, startShellWorkload } from "./shell-workload.ts";
export type {
  Workload,
  WorkloadCheck,
  WorkloadCommit,
  WorkloadOptions,
} from "./sqlite-workload.ts";
export { checkWorkloadDatabase, startWorkload } from "./sqlite-workload.ts";
export type {
  NewItem,
  SealedListener,
  SendOptions,
  StoredKind,
  StoredObject,
  VaultAccount,
  VaultAttachment,
  VaultItem,
  VaultSend,
  VaultTokens,
} from "./vault-client.ts";
export { login, registerAndLogin, VaultClient } from "./vault-client.ts";
export type { SealedContent } from "./vault-request.ts";
export { VaultClientError } from "./vault-request.ts";
export type { VaultWorkload, VaultWorkloadEnd, VaultWorkloadOptions } from "./vault-workload.ts";
export { startVaultWorkload } from "./vault-workload.ts";
export type {
  CheckVaultOptions,
  VaultCheck,
  VaultDirectory,
  VaultProblem,
} from "./vault-workload-check.ts";
export { checkVault } from "./vault-workload-check.ts";
export type { VaultRecord } from "./vault-workload-records.ts";
export { readVaultRecords } from "./vault-workload-records.ts";
export type { StandIn, StandInOptions } from "./vaultwarden-stand-in.ts";
export { standInEntry, startStandIn } from "./vaultwarden-stand-in.ts";
export type { StatementKind } from "./workload-plan.ts";
