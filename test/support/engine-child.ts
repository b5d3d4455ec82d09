/**
 * The engine in a process of its own, so that it can be killed, crashed at named points, and run from mutated sources.
 *
 * Arguments: the module that exports `startReplicator`, and what `crashPointsFromArguments` reads. Commands come over IPC.
 */
import { pathToFileURL } from "node:url";
import { crashPointsFromArguments } from "@vaultwarden-stream/testkit";
import {
  type PrepareOptions,
  prepareDatabase,
  type ReplicateOptions,
  type Replication,
} from "wal-replicator";

type Engine = {
  startReplicator(options: ReplicateOptions, deps: object): Promise<Replication>;
};

export type EngineRequest =
  | {
      readonly id: number;
      readonly command: "start";
      readonly options: ReplicateOptions;
      readonly checkpointPolicy?: object;
      readonly watchPolicy?: object;
      readonly leaseIntervalMs?: number;
    }
  | {
      readonly id: number;
      readonly command: "prepare";
      readonly options: PrepareOptions;
      readonly leaseIntervalMs?: number;
    }
  | { readonly id: number; readonly command: "flush" }
  | { readonly id: number; readonly command: "status" }
  | { readonly id: number; readonly command: "snapshot" }
  | { readonly id: number; readonly command: "stop"; readonly applicationEnded: boolean };

const modulePath = process.argv[2];
if (modulePath === undefined || process.send === undefined)
  throw new Error("started by startEngine only");
const engine = (await import(pathToFileURL(modulePath).href)) as Engine;
const at = crashPointsFromArguments();
let replication: Replication | undefined;

function tell(message: object): void {
  process.send?.(message);
}

async function answer(request: EngineRequest): Promise<unknown> {
  const { leaseIntervalMs } = request as { readonly leaseIntervalMs?: number };
  const lease = leaseIntervalMs === undefined ? {} : { leaseIntervalMs };
  if (request.command === "prepare") {
    return prepareDatabase(
      { ...request.options, onEvent: (event) => tell({ event }) },
      { at, ...lease },
    );
  }
  if (request.command === "start") {
    replication = await engine.startReplicator(
      { ...request.options, onEvent: (event) => tell({ event }) },
      {
        at,
        ...lease,
        ...(request.checkpointPolicy === undefined
          ? {}
          : { checkpointPolicy: request.checkpointPolicy }),
        ...(request.watchPolicy === undefined ? {} : { watchPolicy: request.watchPolicy }),
      },
    );
    replication.ended.catch((error: unknown) => tell({ endedBy: plain(error) }));
    return undefined;
  }
  if (replication === undefined) throw new Error("not started");
  if (request.command === "flush") return replication.flush();
  if (request.command === "status") return replication.status();
  if (request.command === "snapshot") return replication.snapshot();
  return replication.stop({ applicationEnded: request.applicationEnded });
}

function plain(error: unknown): object {
  const { code, message, hint, stack } = error as Error & { code?: string; hint?: string };
  return { code, hint, message: stack ?? message };
}

process.on("message", (request: EngineRequest) => {
  answer(request).then(
    (result) => tell({ id: request.id, result }),
    (error: unknown) => tell({ id: request.id, error: plain(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
tell({ ready: true });
