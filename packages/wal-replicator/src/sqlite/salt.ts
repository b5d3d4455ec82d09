/**
 * The salts of a WAL's header and of each of its frames: they name a generation of the WAL.
 *
 * They order nothing. A restart adds 1 to salt-1, but after a TRUNCATE both may be random: compare for equality only.
 */
export interface Salt {
  /** u32. */
  readonly salt1: number;
  /** u32. */
  readonly salt2: number;
}

export function saltsEqual(a: Salt, b: Salt): boolean {
  return a.salt1 === b.salt1 && a.salt2 === b.salt2;
}

/** 16 hex digits, lower case: salt-1, then salt-2. */
export function formatSalt(salt: Salt): string {
  return formatU32(salt.salt1) + formatU32(salt.salt2);
}

/** Reads exactly 16 lower-case hex digits. @returns undefined for anything else. */
export function parseSalt(text: string): Salt | undefined {
  if (!/^[0-9a-f]{16}$/.test(text)) return undefined;
  return {
    salt1: Number.parseInt(text.slice(0, 8), 16),
    salt2: Number.parseInt(text.slice(8), 16),
  };
}

function formatU32(value: number): string {
  return value.toString(16).padStart(8, "0");
}
