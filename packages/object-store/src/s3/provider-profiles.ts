/**
 * What is known of the stores that call themselves S3 (s3.md 2, 4, 6): data only. Names and the first four columns are rclone's
 * (`backend/s3/provider/*.yaml`), so that settings made for it hold here.
 */
export interface ProviderProfile {
  readonly name: string;
  /** Where a URL names the bucket: in its path, or as the first label of its host. */
  readonly addressing: "path" | "virtual-host";
  /** What is signed with if neither the settings nor the endpoint's host say a region. */
  readonly region: string;
  /** Version of the LIST request. */
  readonly listVersion: 1 | 2;
  /** Whether LIST knows `encoding-type=url`. Not used: our keys need no encoding. */
  readonly listUrlEncoding: boolean;
  /** Whether LIST answers in byte order of the keys. */
  readonly listingSorted: boolean;
  /** Whether the ETag of a multipart upload is as AWS computes it. */
  readonly multipartEtagTrusted: boolean;
  /** Whether the ETag of a single PUT is the MD5 of its body. */
  readonly etagIsMd5: boolean;
  /** Whether bodies carry `x-amz-checksum-sha256` too: buckets with Object Lock want it, many stores refuse it. The signature has the hash in any case. */
  readonly requestChecksums: "always" | "when-required";
  /** Whether the header `x-amz-acl` is taken. */
  readonly aclSupported: boolean;
  /** The smallest part of a multipart upload, in bytes; the last may be smaller. */
  readonly partBytesMin: number;
  /** From 1, which means that there is no multipart upload. */
  readonly partCountMax: number;
  /** How many parts of one upload may be in flight. */
  readonly partConcurrencyMax: number;
  /** How often one key may be written; undefined: no limit is known. */
  readonly sameKeyWritesPerSecondMax: number | undefined;
  /** Sent, and signed, with every request. Never shown. */
  readonly extraHeaders: Readonly<Record<string, string>>;
  /** Whether `POST ?delete` is tried. A store that does not take it is asked for each object by itself, so this only spares the attempt. */
  readonly bulkDelete: boolean;
  /** Statuses after which the same request is sent again, besides the usual ones. */
  readonly extraRetryStatuses: readonly number[];
  /** What is known of `If-None-Match: *`. It words messages; the probe decides. */
  readonly conditionalHint: "yes" | "refused" | "ignored" | "unknown";
}

/** What is not known gets the cautious choice. */
const cautious: Omit<ProviderProfile, "name"> = {
  addressing: "path",
  region: "us-east-1",
  listVersion: 2,
  listUrlEncoding: true,
  listingSorted: true,
  multipartEtagTrusted: false,
  etagIsMd5: true,
  requestChecksums: "when-required",
  aclSupported: false,
  partBytesMin: 5 * 1024 * 1024,
  partCountMax: 10_000,
  partConcurrencyMax: 4,
  sameKeyWritesPerSecondMax: undefined,
  extraHeaders: {},
  bulkDelete: true,
  extraRetryStatuses: [],
  conditionalHint: "unknown",
};

type Row = Pick<
  ProviderProfile,
  "addressing" | "listVersion" | "multipartEtagTrusted" | "listUrlEncoding"
>;

function row(
  addressing: Row["addressing"],
  listVersion: Row["listVersion"],
  etag: "etag" | "no-etag",
  url: "url" | "no-url",
): Row {
  const multipartEtagTrusted = etag === "etag";
  return { addressing, listVersion, multipartEtagTrusted, listUrlEncoding: url === "url" };
}

const rcloneRows: readonly (readonly [Row, string])[] = [
  [
    row("virtual-host", 2, "etag", "url"),
    "AWS GCS Hetzner ImpossibleCloud Intercolo Leviia Linode OVHcloud Petabox Rabata Scaleway Storj Wasabi",
  ],
  [row("virtual-host", 2, "no-etag", "url"), "Alibaba Cubbit LyveCloud RackCorp Synology Zata"],
  [row("virtual-host", 2, "etag", "no-url"), "DigitalOcean Dreamhost Selectel Servercore"],
  [row("virtual-host", 1, "no-etag", "url"), "TencentCOS US3"],
  [row("virtual-host", 1, "etag", "no-url"), "HuaweiOBS"],
  [row("virtual-host", 1, "no-etag", "no-url"), "Netease"],
  [
    row("path", 2, "etag", "url"),
    "Exaba FlashBlade IDrive Minio Outscale Scality SpectraLogic Zadara",
  ],
  [row("path", 2, "no-etag", "url"), "Cloudflare Fastly HCP Mega Rclone"],
  [row("path", 2, "etag", "no-url"), "IONOS ZeroServices"],
  [row("path", 2, "no-etag", "no-url"), "BizflyCloud FileLu Liara Qiniu"],
  [row("path", 1, "etag", "no-url"), "ArvanCloud Ceph ChinaMobile"],
  [row("path", 1, "no-etag", "no-url"), "Other IBMCOS Magalu SeaweedFS"],
];

const withoutAcl = new Set(
  "Cloudflare Fastly FlashBlade Mega Rabata Rclone Selectel Servercore SpectraLogic Storj Synology Zadara".split(
    " ",
  ),
);

/** What differs from a provider's row, or from the cautious choice for names that rclone lacks. */
const exceptions: Readonly<Record<string, Partial<ProviderProfile>>> = {
  AWS: { requestChecksums: "always", conditionalHint: "yes" },
  Cloudflare: {
    region: "auto",
    partConcurrencyMax: 2, // five at a time were answered with 500 (litestream#951)
    sameKeyWritesPerSecondMax: 1,
    bulkDelete: false, // it calls objects deleted that are still there (litestream#976)
    conditionalHint: "yes",
  },
  Fastly: { partCountMax: 1, etagIsMd5: false },
  GCS: { sameKeyWritesPerSecondMax: 1, bulkDelete: false, conditionalHint: "ignored" },
  IBMCOS: { conditionalHint: "yes" },
  Minio: { conditionalHint: "yes" },
  OVHcloud: { conditionalHint: "yes" },
  Scaleway: { partCountMax: 1000, conditionalHint: "yes" },
  Selectel: { conditionalHint: "yes" },
  Servercore: { conditionalHint: "yes" },
  Storj: { listingSorted: false, partBytesMin: 64 * 1024 * 1024, conditionalHint: "yes" },

  Backblaze: { conditionalHint: "refused" },
  Tigris: {
    addressing: "virtual-host", // buckets created after 19 Feb 2025 accept nothing else
    region: "auto",
    // On every request: which read will judge a conditional write is known to the caller only.
    extraHeaders: { "X-Tigris-Consistent": "true" },
    conditionalHint: "yes",
  },
  Garage: { region: "garage", conditionalHint: "ignored" },
  VersityGW: { conditionalHint: "yes" },
  RustFS: { conditionalHint: "yes" },
  Supabase: {},
  Filebase: {},
  Oracle: { conditionalHint: "ignored" },
  Vultr: {},
  Exoscale: { conditionalHint: "yes" },
};

/** The same service under another name. */
const aliases: Readonly<Record<string, string>> = { Akamai: "Linode" };

/** All profiles, sorted by name without case. */
export const providerProfiles: readonly ProviderProfile[] = collectProfiles().sort((left, right) =>
  left.name.toLowerCase() < right.name.toLowerCase() ? -1 : 1,
);

function collectProfiles(): ProviderProfile[] {
  const profiles = new Map<string, ProviderProfile>();
  for (const [columns, names] of rcloneRows) {
    for (const name of names.split(" ")) {
      const aclSupported = !withoutAcl.has(name);
      profiles.set(name, { ...cautious, ...columns, aclSupported, ...exceptions[name], name });
    }
  }
  for (const [name, exception] of Object.entries(exceptions)) {
    if (!profiles.has(name)) profiles.set(name, { ...cautious, ...exception, name });
  }
  for (const [alias, name] of Object.entries(aliases)) {
    const profile = profiles.get(name);
    if (profile !== undefined) profiles.set(alias, { ...profile, name: alias });
  }
  return [...profiles.values()];
}
