import { BlockList, isIP } from "node:net";

/** Where to listen: a name or an address without brackets, and a port. */
export interface ListenAddress {
  readonly host: string;
  /** From 0 to 65535; 0 takes any that is free. */
  readonly port: number;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Reads `127.0.0.1:9464`, `localhost:9464` or `[::1]:9464`. @returns undefined if it is nothing like that. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, bracketed, plain, digits] =
    /^(?:\[([^[\]]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535) return undefined;
  if (bracketed !== undefined && isIP(bracketed) !== 6) return undefined;
  return { host, port };
}

/** Only this machine can connect there. A name other than `localhost` may mean anything, so it does not count. */
export function isLoopback(host: string): boolean {
  if (host.toLowerCase() === "localhost") return true;
  const family = isIP(host);
  return family !== 0 && loopback.check(host, family === 6 ? "ipv6" : "ipv4");
}
