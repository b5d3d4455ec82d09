import { fileURLToPath } from "node:url";
import { type RunningChild, startTypeScriptChild } from "@vaultwarden-stream/testkit";
import type { ProxiedRequest } from "./s3-proxy.ts";
import type { S3ProxyMessage } from "./s3-proxy-main.ts";
import { sleepMs } from "./statistics.ts";

const proxyEntry = fileURLToPath(new URL("./s3-proxy-main.ts", import.meta.url));

/** All requests to an S3 server through one proxy, which is a process of its own. */
export class RequestLog implements Disposable {
  /** As `http://127.0.0.1:port`. */
  readonly endpoint: string;
  /** In the order in which they ended. */
  readonly requests: readonly ProxiedRequest[];
  readonly #proxy: RunningChild;
  readonly #open: { count: number };

  private constructor(
    proxy: RunningChild,
    endpoint: string,
    requests: readonly ProxiedRequest[],
    open: { count: number },
  ) {
    this.#proxy = proxy;
    this.endpoint = endpoint;
    this.requests = requests;
    this.#open = open;
  }

  /** @param target - the server, as `http://host:port`. */
  static async open(target: string, latencyMs: number): Promise<RequestLog> {
    const proxy = startTypeScriptChild(proxyEntry, {
      arguments: [target, String(latencyMs)],
      ipc: true,
    });
    const requests: ProxiedRequest[] = [];
    const open = { count: 0 };
    const listening = Promise.withResolvers<string>();
    proxy.process.on("message", (message: S3ProxyMessage) => {
      if (message.type === "listening") listening.resolve(message.endpoint);
      if (message.type === "begin") open.count += 1;
      if (message.type === "end") {
        open.count -= 1;
        requests.push(message.request);
      }
    });
    const ended = proxy.exited.then(({ stderr }) => {
      throw new Error(`the proxy ended:\n${stderr}`);
    });
    return new RequestLog(proxy, await Promise.race([listening.promise, ended]), requests, open);
  }

  /** Resolves when all requests that were begun before the call are in `requests`. */
  async settle(): Promise<void> {
    const soFar = new Promise<void>((resolve, reject) => {
      const listen = (message: S3ProxyMessage): void => {
        if (message.type !== "so-far") return;
        this.#proxy.process.off("message", listen);
        resolve();
      };
      this.#proxy.process.on("message", listen);
      this.#proxy.process.send("settle", (error) => error !== null && reject(error));
    });
    await soFar;
    while (this.openCount > 0) await sleepMs(5);
  }

  /** Requests without a complete answer yet. */
  get openCount(): number {
    return this.#open.count;
  }

  [Symbol.dispose](): void {
    this.#proxy.process.kill("SIGKILL");
  }
}
