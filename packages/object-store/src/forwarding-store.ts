import type {
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

/** Passes every request to another store. A decorator overrides the requests that it is about. */
export abstract class ForwardingStore implements ObjectStore {
  protected readonly inner: ObjectStore;

  constructor(inner: ObjectStore) {
    this.inner = inner;
  }

  get properties(): ObjectStoreProperties {
    return this.inner.properties;
  }

  put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    return this.inner.put(key, body, options);
  }

  putIfAbsent(key: string, body: ObjectBody, options?: PutOptions): Promise<"created" | "exists"> {
    return this.inner.putIfAbsent(key, body, options);
  }

  get(key: string, options?: GetOptions): Promise<ObjectReading> {
    return this.inner.get(key, options);
  }

  head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    return this.inner.head(key, options);
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<readonly ObjectInfo[]> {
    return this.inner.list(prefix, options);
  }

  delete(key: string, options?: RequestOptions): Promise<void> {
    return this.inner.delete(key, options);
  }

  deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void> {
    return this.inner.deleteAll(keys, options);
  }
}
