/** The process behind `startS3ServerProcess`: options as JSON in its argument, commands over IPC, one at a time and in order. */
import { type S3Server, type S3ServerOptions, startS3Server } from "./s3-server.ts";
import type { S3ServerCommand, S3ServerMessage, SentS3Object } from "./s3-server-process.ts";

function send(message: S3ServerMessage): void {
  process.send?.(message);
}

async function execute(server: S3Server, command: S3ServerCommand): Promise<unknown> {
  switch (command.name) {
    case "requests":
      return server.requests;
    case "clearRequests":
      return server.clearRequests();
    case "objects":
      return [...server.objects].map(
        ([key, { body, lastModified, ...rest }]): SentS3Object => ({
          key,
          ...rest,
          bodyBase64: Buffer.from(body).toString("base64"),
          lastModifiedMs: lastModified.getTime(),
        }),
      );
    case "setFaults":
      return server.setFaults(command.plan);
    case "setLatency":
      return server.setLatency(command.latencyMs);
    case "setPersonality":
      return server.setPersonality(command.personality);
    case "advanceClock":
      return server.advanceClock(command.byMs);
    case "pause":
      return await server.pause();
    case "resume":
      return await server.resume();
  }
}

const options = JSON.parse(process.argv[2] ?? "{}") as S3ServerOptions;
const server = await startS3Server(options);
let last: Promise<void> = Promise.resolve();
process.on("message", (command: S3ServerCommand) => {
  last = last.then(async () => {
    try {
      // JSON has no `undefined`, so a command without a result answers null.
      send({ value: (await execute(server, command)) ?? null });
    } catch (error) {
      send({ failure: String(error) });
    }
  });
});
// The channel closes when the test's process is gone, even by SIGKILL.
process.on("disconnect", () => process.exit(0));
const { endpoint, region, bucket, credentials } = server;
send({ ready: { endpoint, region, bucket, credentials } });
