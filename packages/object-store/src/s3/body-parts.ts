/** A piece of a body that is not in memory yet: what `BodyParts.asBytes` is cut into. */
export class BodyPart {
  /** In bytes, counted from the beginning of the body. */
  readonly start: number;
  /** In bytes. The SDK's `Upload` looks for it under this name. */
  readonly byteLength: number;

  constructor(start: number, end: number) {
    this.start = start;
    this.byteLength = end - start;
  }
}

/**
 * A streamed body for the SDK's `Upload`, which copies what it reads of a stream, twice and into buffers of its own. It cuts bytes in memory
 * without a copy; so it is given bytes that are none: it cuts descriptions of parts off them, and each part is read when it is sent. The buffers
 * of the parts are used again, so that there are as many of them as parts under way.
 */
export class BodyParts {
  /** For `Upload` alone: as long as the body, and to be cut from its beginning to its end. */
  readonly asBytes: Uint8Array;
  readonly #chunks: AsyncIterator<Uint8Array, void>;
  readonly #free: Uint8Array[] = [];
  readonly #partBytes: number;
  /** What the body gave and no part has taken yet. */
  #rest: Uint8Array = new Uint8Array();
  #position = 0;
  /** Parts are read one after the other. */
  #reading: Promise<unknown> = Promise.resolve();

  /** @param chunks - of exactly `size` bytes; each is valid until the next is asked for. */
  constructor(chunks: AsyncIterator<Uint8Array, void>, size: number, partBytes: number) {
    this.#chunks = chunks;
    this.#partBytes = partBytes;
    this.asBytes = Object.defineProperties(new Uint8Array(), {
      byteLength: { value: size },
      subarray: { value: (start: number, end = size) => new BodyPart(start, end) },
    });
  }

  /**
   * Reads a part, which is the one behind the part that was asked for last.
   *
   * @param use - the bytes are valid until what it returns has settled.
   * @throws what the body throws, and what `use` does.
   */
  async with<T>(part: BodyPart, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    const buffer = this.#free.pop() ?? new Uint8Array(this.#partBytes);
    const bytes = buffer.subarray(0, part.byteLength);
    const read = this.#reading.then(() => this.#read(part, bytes));
    this.#reading = read;
    try {
      await read;
      return await use(bytes);
    } finally {
      this.#free.push(buffer);
    }
  }

  async #read(part: BodyPart, bytes: Uint8Array): Promise<void> {
    if (part.start !== this.#position || part.byteLength > this.#partBytes) {
      throw new Error(`the part at ${part.start} does not follow the one before it`);
    }
    for (let filled = 0; filled < bytes.length; ) {
      if (this.#rest.length === 0) {
        const { value, done } = await this.#chunks.next();
        if (done === true) throw new Error("the body is shorter than it said");
        this.#rest = value;
        continue;
      }
      const taken = this.#rest.subarray(0, bytes.length - filled);
      bytes.set(taken, filled);
      filled += taken.length;
      this.#rest = this.#rest.subarray(taken.length);
    }
    this.#position += bytes.length;
  }
}
