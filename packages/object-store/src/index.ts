export { type BudgetOptions, type BudgetStatus, BudgetStore } from "./budget-store.ts";
export { CountingStore, noCounts, type RequestCount, type StoreCounts } from "./counting-store.ts";
export { DirectoryStore } from "./directory-store.ts";
export {
  isNotFound,
  ObjectStoreError,
  type ObjectStoreErrorCode,
  type ObjectStoreErrorDetails,
} from "./errors.ts";
export {
  type Fault,
  type FaultPlan,
  FaultyStore,
  type StoreCall,
  type StoreOperation,
  seededFaults,
} from "./faulty-store.ts";
export { LimitedStore } from "./limited-store.ts";
export { MemoryStore, type MemoryStoreOptions } from "./memory-store.ts";
export { isObjectKey } from "./object-key.ts";
export type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectReading,
  ObjectStore,
  ObjectStoreProperties,
  PutOptions,
  RequestOptions,
} from "./object-store.ts";
export { ObservedStore, type SignOfLife } from "./observed-store.ts";
export { openObjectStore, type StoreLocation } from "./open-store.ts";
export { RateLimit, type RateLimitOptions } from "./rate-limit.ts";
export { RateLimitedStore } from "./rate-limited-store.ts";
export { RetryingStore, type RetryNotice, type RetryOptions } from "./retrying-store.ts";
export {
  detectProvider,
  type ProviderChoice,
  UnknownProviderError,
} from "./s3/detect-provider.ts";
export { parseEndpoint } from "./s3/parse-endpoint.ts";
export {
  type ConditionalWritesReport,
  type ConditionalWritesVerdict,
  type ProbeOptions,
  probeConditionalWrites,
} from "./s3/probe.ts";
export { type ProviderProfile, providerProfiles } from "./s3/provider-profiles.ts";
export type { ProfileOverrides, S3Credentials, S3Location, S3Timeouts } from "./s3/s3-settings.ts";
export { openSealedJson, type SealedJson, sealJson, sealProblem } from "./sealed-json.ts";
export type { UploadClass } from "./upload-class.ts";
