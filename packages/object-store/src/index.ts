export { CountingStore, noCounts, type StoreCounts } from "./counting-store.ts";
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
export { openObjectStore } from "./open-store.ts";
export { RetryingStore, type RetryNotice, type RetryOptions } from "./retrying-store.ts";
