import { closest } from "fastest-levenshtein";
import { type ProviderProfile, providerProfiles } from "./provider-profiles.ts";

export interface ProviderChoice {
  readonly profile: ProviderProfile;
  /** What requests are signed with: from the host, else the profile's. */
  readonly region: string;
  /** Something that somebody should look at, one sentence. */
  readonly warning: string | undefined;
}

/** A provider's name that nobody knows. The message lists those that are known. */
export class UnknownProviderError extends Error {
  override readonly name = "UnknownProviderError";
  /** The known name that is nearest in spelling. */
  readonly nearest: string;

  constructor(provider: string) {
    const names = providerProfiles.map(({ name }) => name);
    const nearest = closest(provider, names);
    super(
      `the provider ${JSON.stringify(provider)} is not known; did you mean ${nearest}? Known are ${names.join(", ")}. For a store that is not among them write Other.`,
    );
    this.nearest = nearest;
  }
}

/**
 * Chooses the profile of a store (s3.md 1): by the name, in any case; else by the endpoint's host, compared by whole labels (s3.md 3);
 * else `AWS` without an endpoint and `Other` with one. Where name and host disagree the name wins, with a warning.
 *
 * @param endpoint - as `parseEndpoint` gives it.
 * @throws {UnknownProviderError}
 */
export function detectProvider(
  provider: string | undefined,
  endpoint: URL | undefined,
): ProviderChoice {
  const found = endpoint === undefined ? { name: "AWS" } : matchHost(endpoint.hostname);
  const profile = findProfile(provider ?? found?.name ?? "Other");
  const region = found?.region ?? profile.region;
  const isSame = found === undefined || endpoint === undefined || sameAs(found.name, profile.name);
  const warning = isSame
    ? undefined
    : `the provider is given as ${profile.name}, and the host ${endpoint.hostname} is one of ${found.name}: ${profile.name} it is`;
  return { profile, region, warning };
}

function findProfile(name: string): ProviderProfile {
  const profile = providerProfiles.find((one) => one.name.toLowerCase() === name.toLowerCase());
  if (profile === undefined) throw new UnknownProviderError(name);
  return profile;
}

/** One service under two names is no disagreement. */
function sameAs(left: string, right: string): boolean {
  const services = [["Linode", "Akamai"], ["Selectel", "Servercore"], [left]];
  return services.some(
    (names) => names.includes(left) && (names.includes(right) || left === right),
  );
}

/** Hosts end like this, label by label; `<r>` is the region (s3.md 3). The first that fits counts. */
const hosts: readonly (readonly [ending: string, name: string])[] = [
  ["s3.<r>.amazonaws.com", "AWS"],
  ["s3.dualstack.<r>.amazonaws.com", "AWS"],
  ["s3-fips.<r>.amazonaws.com", "AWS"],
  ["s3.<r>.amazonaws.com.cn", "AWS"],
  ["amazonaws.com", "AWS"],
  ["amazonaws.com.cn", "AWS"],
  ["r2.cloudflarestorage.com", "Cloudflare"],
  ["s3.<r>.backblazeb2.com", "Backblaze"],
  ["<r>.digitaloceanspaces.com", "DigitalOcean"],
  ["<r>.your-objectstorage.com", "Hetzner"],
  ["s3.<r>.scw.cloud", "Scaleway"],
  ["s3.<r>.wasabisys.com", "Wasabi"],
  ["wasabisys.com", "Wasabi"],
  ["tigris.dev", "Tigris"],
  ["t3.storage.dev", "Tigris"],
  ["storjshare.io", "Storj"],
  ["s3.<r>.io.cloud.ovh.net", "OVHcloud"],
  ["s3.<r>.io.cloud.ovh.us", "OVHcloud"],
  ["<r>.linodeobjects.com", "Linode"],
  ["supabase.co", "Supabase"],
  ["s3.filebase.com", "Filebase"],
  ["sos-<r>.exo.io", "Exoscale"],
  ["<r>.vultrobjects.com", "Vultr"],
  ["compat.objectstorage.<r>.oraclecloud.com", "Oracle"],
  ["compat.objectstorage.<r>.oci.customer-oci.com", "Oracle"],
  ["s3.<r>.storage.selcloud.ru", "Selectel"],
  ["srvstorage.kz", "Servercore"],
  ["srvstorage.uz", "Servercore"],
  ["storage.googleapis.com", "GCS"],
  ["aliyuncs.com", "Alibaba"],
  ["myqcloud.com", "TencentCOS"],
  ["myhuaweicloud.com", "HuaweiOBS"],
  ["appdomain.cloud", "IBMCOS"],
  ["s3.<r>.ionoscloud.com", "IONOS"],
  ["<r>.object.fastlystorage.app", "Fastly"],
];

function matchHost(hostname: string): { name: string; region?: string } | undefined {
  const host = hostname.toLowerCase().replace(/\.$/, "");
  for (const [ending, name] of hosts) {
    const pattern = ending.replaceAll(".", "\\.").replace("<r>", "([a-z0-9-]+)");
    const match = new RegExp(`(?:^|\\.)${pattern}$`).exec(host);
    if (match !== null) return { name, ...(match[1] === undefined ? {} : { region: match[1] }) };
  }
  const [label, ...rest] = host.split(".");
  const isGoogle = rest.join(".") === "googleapis.com" && label?.split("-").includes("storage");
  return isGoogle ? { name: "GCS" } : undefined;
}
