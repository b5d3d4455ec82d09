import { createHash } from "node:crypto";

/**
 * Small JSON objects that say by themselves whether they are whole: their last member is the SHA-256 of all bytes before it.
 *
 * A store and a disk flip bits in silence, and JSON with another digit in it is JSON. The form is fixed: `…,\n"sha256":"<64 hex digits>"}\n`.
 */
export interface SealedJson {
  /** With the member `sha256`, if it has one. */
  readonly value: unknown;
  /** `absent`: of a version that wrote none, or something changed its name. */
  readonly seal: "intact" | "broken" | "absent";
}

const seal = /^,\n"sha256":"([0-9a-f]{64})"\}\n$/;
const sealBytes = `,\n"sha256":"${"0".repeat(64)}"}\n`.length;

/** @param text - of a JSON object with at least one member, and none called `sha256`. */
export function sealJson(text: string): Uint8Array {
  const head = new TextEncoder().encode(text.trimEnd().slice(0, -1).trimEnd());
  const sealed = new Uint8Array(head.length + sealBytes);
  sealed.set(head);
  sealed.set(new TextEncoder().encode(`,\n"sha256":"${digest(head)}"}\n`), head.length);
  return sealed;
}

/** @throws {SyntaxError} | {TypeError} if the bytes are not JSON, or not UTF-8. */
export function openSealedJson(bytes: Uint8Array): SealedJson {
  const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  const end = bytes.subarray(Math.max(0, bytes.length - sealBytes));
  const said = seal.exec(new TextDecoder("latin1").decode(end))?.[1];
  if (said === undefined) return { value, seal: "absent" };
  const isIntact = digest(bytes.subarray(0, bytes.length - sealBytes)) === said;
  return { value, seal: isIntact ? "intact" : "broken" };
}

/**
 * @param unsealedFields - what an object may have that nobody has sealed: the fields of the time before there were seals. Everything else in it
 *   may be a seal whose name has changed.
 * @returns why it must not be believed; undefined: it may.
 */
export function sealProblem(
  opened: SealedJson,
  unsealedFields: readonly string[],
): string | undefined {
  if (opened.seal === "intact") return undefined;
  if (opened.seal === "broken") return "its bytes are not those that were written";
  const unknown = Object.keys(Object(opened.value)).find((name) => !unsealedFields.includes(name));
  if (unknown === undefined) return undefined;
  return `it has no checksum, and a field ${JSON.stringify(unknown)} that is none of ours without one`;
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
