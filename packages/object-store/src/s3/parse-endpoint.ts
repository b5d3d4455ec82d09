import { isIP } from "node:net";

/**
 * Reads an endpoint. Without a scheme it is `https://`, for loopback and private addresses `http://` (s3.md 3). A path is kept.
 *
 * @throws {TypeError} with a message that shows nothing of the user information in it.
 */
export function parseEndpoint(text: string): URL {
  const given = text.trim();
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(given);
  const url = parse(hasScheme ? given : `https://${given}`);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new TypeError(
      `the endpoint begins with ${url.protocol}//, and not with https:// or http://`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new TypeError("the endpoint has credentials in it, and URLs are shown in messages");
  }
  if (url.search !== "" || url.hash !== "") throw new TypeError("the endpoint has a ? or # in it");
  if (!hasScheme && isNear(url.hostname)) return parse(`http://${given}`);
  return url;
}

function parse(text: string): URL {
  // The parser's own message would show all of it.
  if (!URL.canParse(text)) throw new TypeError("the endpoint is no URL: write https://host");
  return new URL(text);
}

/** Loopback and private addresses, where TLS is the exception. */
function isNear(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  if (isIP(host) === 6) return host === "::1" || /^f[cd]/i.test(host) || /^fe[89ab]/i.test(host);
  if (isIP(host) === 0) return false;
  return /^(127|10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01]))\./.test(host);
}
