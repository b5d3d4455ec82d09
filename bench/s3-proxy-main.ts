/** A child process of `request-log.ts`: a proxy of its own, so that no figure holds what it costs. */
import { type ProxiedRequest, startS3Proxy } from "./s3-proxy.ts";

/** What the parent is told. */
export type S3ProxyMessage =
  | { readonly type: "listening"; readonly endpoint: string }
  | { readonly type: "begin" }
  | { readonly type: "end"; readonly request: ProxiedRequest }
  /** The answer to any message of the parent: all before it is said. */
  | { readonly type: "so-far" };

const [target = "", latencyMs = "0"] = process.argv.slice(2);
const say = (message: S3ProxyMessage): void => void process.send?.(message);

const { endpoint } = await startS3Proxy({
  target,
  latencyMs: Number(latencyMs),
  onBegin: () => say({ type: "begin" }),
  onEnd: (request) => say({ type: "end", request }),
});
process.on("message", () => say({ type: "so-far" }));
process.on("disconnect", () => process.exit());
say({ type: "listening", endpoint });
