import { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";

/**
 * Yields the chunks of an HTTP body, which belong to the receiver, and gives the memory back that the socket read them into.
 *
 * Node's HTTP parser copies each chunk out of a buffer of 64 KiB that nobody uses again. Left to the garbage collector, which hardly
 * sees what is outside of its heap, these lie in memory by the hundred. What a parser does with its input is nowhere promised,
 * so nothing is given back as soon as a chunk turns out to lie in what was read.
 */
export async function* readMessage(
  message: Readable,
): AsyncGenerator<Buffer<ArrayBuffer>, void, undefined> {
  const socket = message instanceof IncomingMessage ? message.socket : undefined;
  let reads: Buffer<ArrayBuffer>[] = [];
  const keep = (read: Buffer<ArrayBuffer>): void => {
    reads.push(read);
  };
  const stop = (): void => {
    socket?.off("data", keep);
    reads = [];
  };
  // At the end of the message the socket is free for another request, perhaps before the receiver has seen the last chunk.
  message.once("end", stop);
  message.once("close", stop);
  socket?.on("data", keep);
  try {
    for await (const chunk of message as AsyncIterable<Buffer<ArrayBuffer>>) {
      if (reads.some(({ buffer }) => buffer === chunk.buffer)) stop();
      for (const { buffer, length } of reads) if (length === buffer.byteLength) buffer.transfer(0);
      reads = [];
      yield chunk;
    }
  } finally {
    stop();
  }
}
