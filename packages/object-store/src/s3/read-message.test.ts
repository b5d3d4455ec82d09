import { once } from "node:events";
import { Agent, createServer, get, IncomingMessage, type Server } from "node:http";
import { type AddressInfo, Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readMessage } from "./read-message.ts";

describe("a body from a server", () => {
  const content = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 31) >> 3));
  let server: Server;
  let agent: Agent;
  beforeEach(async () => {
    server = createServer((_, response) => response.end(content)).listen(0, "127.0.0.1");
    agent = new Agent({ keepAlive: true });
    await once(server, "listening");
  });
  afterEach(() => {
    agent.destroy();
    server.close();
  });
  const request = async (): Promise<IncomingMessage> => {
    const asked = get({ agent, port: (server.address() as AddressInfo).port });
    const [message] = (await once(asked, "response")) as [IncomingMessage];
    return message;
  };

  it("is whole, and what the socket read is given back", async () => {
    const message = await request();
    const reads: Buffer[] = [];
    message.socket.on("data", (read: Buffer) => reads.push(read));
    const chunks: Buffer[] = [];
    for await (const chunk of readMessage(message)) chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), content)).toBe(0);
    // All but those that came before the reader and after the last chunk.
    const keptBytes = reads.reduce((bytes, read) => bytes + read.length, 0);
    expect(reads.length).toBeGreaterThan(20);
    expect(keptBytes).toBeLessThan(content.length / 4);
  });

  it("leaves no listener on a connection that is used again, nor on one that is left early", async () => {
    const first = await request();
    const { socket } = first;
    for await (const _ of readMessage(first)) {
      // Only to its end.
    }
    const second = await request();
    expect(second.socket).toBe(socket);
    const before = socket.listenerCount("data");
    for await (const _ of readMessage(second)) break;
    expect([before, socket.listenerCount("data")]).toEqual([1, 1]);
  });
});

it("takes nothing back from a parser that does not copy", async () => {
  const socket = new Socket();
  const message = new IncomingMessage(socket);
  socket.on("data", (read: Buffer) => message.push(read));
  const left = ["two", "three"];
  const receive = (text: string) =>
    socket.emit("data", Buffer.from(Uint8Array.from(text, (one) => one.charCodeAt(0)).buffer));
  const chunks: Buffer[] = [];
  setImmediate(receive, "one");
  for await (const chunk of readMessage(message)) {
    chunks.push(chunk);
    const next = left.shift();
    if (next === undefined) message.push(null);
    else receive(next);
  }
  expect(chunks.map(String)).toEqual(["one", "two", "three"]);
});
