import { InvariantError } from "../errors.ts";
import {
  LtxDecoder,
  type LtxDecoderOptions,
  type LtxFileVerdict,
  type LtxPage,
} from "./decoder.ts";
import type { LtxHeader } from "./header.ts";

/** An LTX file that comes piece by piece: awaits only where its source has to be asked. */
export class LtxInput {
  readonly decoder: LtxDecoder;
  readonly #source: AsyncIterator<Uint8Array>;
  #atEnd = false;

  constructor(source: AsyncIterable<Uint8Array>, options?: LtxDecoderOptions) {
    this.decoder = new LtxDecoder(options);
    this.#source = source[Symbol.asyncIterator]();
  }

  /** @throws {FormatError}, and whatever the source throws. */
  async readHeader(): Promise<LtxHeader> {
    while (this.decoder.header === undefined && (await this.pull()));
    const { header } = this.decoder;
    if (header !== undefined) return header;
    this.decoder.finish();
    throw new InvariantError("a file without a header was accepted");
  }

  /** Pushes the source's next piece. @returns false at its end. */
  async pull(): Promise<boolean> {
    const next = await this.#source.next();
    if (next.done === true) {
      this.#atEnd = true;
      return false;
    }
    this.decoder.push(next.value);
    return true;
  }

  /** Reads the file to its end. @returns what it was, verified. */
  async finish(): Promise<LtxFileVerdict> {
    do {
      while (this.decoder.readPage() !== undefined);
    } while (await this.pull());
    return this.decoder.finish();
  }

  /** Lets go of a source that was not read to its end. */
  async close(): Promise<void> {
    if (!this.#atEnd) await this.#source.return?.();
  }
}

const batchBytes = 1 << 20;

/**
 * Reads an LTX file page by page, in batches of up to about 1 MiB, so that nothing is awaited per page.
 *
 * The pages of a batch are valid until the next one is asked for, and none counts before the generator returned: that is when the
 * file's checksum was found to match.
 *
 * @param onHeader - called once, before the first batch.
 * @throws {FormatError}, and whatever the source throws.
 */
export async function* decodeLtx(
  source: AsyncIterable<Uint8Array>,
  options?: LtxDecoderOptions & { readonly onHeader?: (header: LtxHeader) => void },
): AsyncGenerator<readonly LtxPage[], LtxFileVerdict, undefined> {
  const input = new LtxInput(source, options);
  try {
    const header = await input.readHeader();
    options?.onHeader?.(header);
    const buffers: Uint8Array[] = [];
    const batchPages = Math.max(1, Math.floor(batchBytes / header.pageSize));
    do {
      let batch: LtxPage[] = [];
      for (;;) {
        const buffer = buffers[batch.length] ?? new Uint8Array(header.pageSize);
        buffers[batch.length] = buffer;
        const page = input.decoder.readPage(buffer);
        if (page !== undefined) batch.push(page);
        if (batch.length > 0 && (page === undefined || batch.length === batchPages)) {
          yield batch;
          batch = [];
        }
        if (page === undefined) break;
      }
    } while (await input.pull());
    return input.decoder.finish();
  } finally {
    await input.close();
  }
}
