import { get as httpGet, type RequestOptions } from "node:http";
import { get as httpsGet } from "node:https";

export type AliveAnswer = { readonly ok: true } | { readonly ok: false; readonly why: string };

/** The server waits for a connection to its database before it answers; a health check as a whole has ten seconds. */
const answerTimeoutMs = 5_000;

/** Asks the server once whether it lives. Never throws. */
export function askAlive(url: string, signal?: AbortSignal): Promise<AliveAnswer> {
  // On loopback the certificate is for another name; we ask whether it lives, not who it is.
  const options: RequestOptions & { rejectUnauthorized: boolean } = {
    rejectUnauthorized: false,
    agent: false,
    ...(signal === undefined ? {} : { signal }),
  };
  return new Promise((resolve) => {
    const no = (why: string): void => resolve({ ok: false, why: `${url}: ${why}` });
    if (!URL.canParse(url)) return no("it is no URL");
    const get = url.startsWith("https:") ? httpsGet : httpGet;
    const request = get(url, options, ({ statusCode }) => {
      if (statusCode === 200) resolve({ ok: true });
      else no(`it answers ${statusCode}`);
      request.destroy();
    });
    // Of the whole answer: a socket's own time limit begins anew with every byte.
    const timer = setTimeout(() => {
      no(`no answer within ${answerTimeoutMs / 1_000} s`);
      request.destroy();
    }, answerTimeoutMs);
    request.on("error", (error: NodeJS.ErrnoException) => no(error.code ?? error.message));
    request.on("close", () => {
      clearTimeout(timer);
      no("no answer");
    });
  });
}
