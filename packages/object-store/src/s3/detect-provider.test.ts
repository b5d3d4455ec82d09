import { describe, expect, it } from "vitest";
import { detectProvider } from "./detect-provider.ts";
import { parseEndpoint } from "./parse-endpoint.ts";
import { providerProfiles } from "./provider-profiles.ts";

const byHost = (endpoint: string) => {
  const { profile, region } = detectProvider(undefined, parseEndpoint(endpoint));
  return [profile.name, region];
};

describe("a provider's name", () => {
  it("is one of rclone's 53 or of ours, each once in any case", () => {
    const names = providerProfiles.map(({ name }) => name.toLowerCase());
    expect(new Set(names).size).toBe(names.length);
    expect(names).toHaveLength(64);
    for (const name of ["US3", "Other", "ZeroServices", "Backblaze", "Akamai", "Exoscale"]) {
      expect(names).toContain(name.toLowerCase());
    }
  });

  it.each(["cloudflare", "CLOUDFLARE", "Cloudflare"])("is found as %s", (name) => {
    expect(detectProvider(name, undefined).profile.name).toBe("Cloudflare");
  });

  it("that nobody knows is refused with the nearest and all names", () => {
    const attempt = () => detectProvider("Cloudfare", undefined);
    expect(attempt).toThrow(/did you mean Cloudflare\?/);
    for (const { name } of providerProfiles) expect(attempt).toThrow(name);
    expect(attempt).toThrow(/write Other/);
  });

  it("wins over the host, with a warning that shows both", () => {
    const endpoint = parseEndpoint("https://nyc3.digitaloceanspaces.com");
    const { profile, region, warning } = detectProvider("Minio", endpoint);
    expect([profile.name, region]).toEqual(["Minio", "nyc3"]);
    expect(warning).toMatch(/Minio.*nyc3\.digitaloceanspaces\.com.*DigitalOcean/);
  });

  it.each([
    ["DigitalOcean", "nyc3.digitaloceanspaces.com"],
    ["Akamai", "eu-central-1.linodeobjects.com"],
    ["Servercore", "s3.ru-1.storage.selcloud.ru"],
    ["Minio", "storage.example.org"],
  ])("%s agrees with %s", (name, host) => {
    expect(detectProvider(name, parseEndpoint(host)).warning).toBeUndefined();
  });
});

describe("an endpoint's host", () => {
  it.each([
    ["https://s3.eu-central-1.amazonaws.com", "AWS", "eu-central-1"],
    ["https://s3.dualstack.eu-west-1.amazonaws.com", "AWS", "eu-west-1"],
    ["https://s3.cn-north-1.amazonaws.com.cn", "AWS", "cn-north-1"],
    ["https://s3.amazonaws.com", "AWS", "us-east-1"],
    ["https://0123.r2.cloudflarestorage.com", "Cloudflare", "auto"],
    ["https://0123.eu.r2.cloudflarestorage.com", "Cloudflare", "auto"],
    ["https://s3.us-west-004.backblazeb2.com", "Backblaze", "us-west-004"],
    ["https://NYC3.DigitalOceanSpaces.com.", "DigitalOcean", "nyc3"],
    ["https://fsn1.your-objectstorage.com", "Hetzner", "fsn1"],
    ["https://s3.fr-par.scw.cloud", "Scaleway", "fr-par"],
    ["https://s3.eu-central-1.wasabisys.com", "Wasabi", "eu-central-1"],
    ["https://s3.wasabisys.com", "Wasabi", "us-east-1"],
    ["https://fly.storage.tigris.dev", "Tigris", "auto"],
    ["https://t3.storage.dev", "Tigris", "auto"],
    ["https://gateway.storjshare.io", "Storj", "us-east-1"],
    ["https://s3.gra.io.cloud.ovh.net", "OVHcloud", "gra"],
    ["https://us-east-1.linodeobjects.com", "Linode", "us-east-1"],
    ["https://abc.supabase.co/storage/v1/s3", "Supabase", "us-east-1"],
    ["https://s3.filebase.com", "Filebase", "us-east-1"],
    ["https://sos-ch-dk-2.exo.io", "Exoscale", "ch-dk-2"],
    ["https://ewr1.vultrobjects.com", "Vultr", "ewr1"],
    ["https://ns.compat.objectstorage.eu-zurich-1.oraclecloud.com", "Oracle", "eu-zurich-1"],
    ["https://s3.ru-1.storage.selcloud.ru", "Selectel", "ru-1"],
    ["https://storage.googleapis.com", "GCS", "us-east-1"],
    ["https://storage-europe.googleapis.com", "GCS", "us-east-1"],
    ["https://oss-eu-central-1.aliyuncs.com", "Alibaba", "us-east-1"],
    ["https://s3.eu-central-3.ionoscloud.com", "IONOS", "eu-central-3"],
    ["https://eu-central.object.fastlystorage.app", "Fastly", "eu-central"],
  ])("%s is %s in %s", (endpoint, name, region) => {
    expect(byHost(endpoint)).toEqual([name, region]);
  });

  it.each([
    "https://evil-digitaloceanspaces.com",
    "https://s3.amazonaws.com.example.org",
    "https://xs3.filebase.com",
    "https://notstorage.googleapis.com",
    "http://127.0.0.1:9000",
    "minio:9000",
    "https://[::1]:9000",
    "https://s3.example.org:8443",
  ])("%s says nothing", (endpoint) => {
    expect(byHost(endpoint)).toEqual(["Other", "us-east-1"]);
  });

  it("that is missing means AWS", () => {
    expect(detectProvider(undefined, undefined).profile.name).toBe("AWS");
  });
});

describe("an endpoint", () => {
  it.each([
    ["s3.example.org", "https://s3.example.org/"],
    ["127.0.0.1:9000", "http://127.0.0.1:9000/"],
    ["localhost:9000", "http://localhost:9000/"],
    ["10.1.2.3", "http://10.1.2.3/"],
    ["172.16.0.1", "http://172.16.0.1/"],
    ["172.32.0.1", "https://172.32.0.1/"],
    ["192.168.1.1:9000", "http://192.168.1.1:9000/"],
    ["[::1]:9000", "http://[::1]:9000/"],
    ["[fd00::1]", "http://[fd00::1]/"],
    ["https://10.1.2.3", "https://10.1.2.3/"],
    ["https://abc.supabase.co/storage/v1/s3", "https://abc.supabase.co/storage/v1/s3"],
  ])("%s is %s", (text, href) => {
    expect(parseEndpoint(text).href).toBe(href);
  });

  it.each(["ftp://host", "https://user:canary@host", "https://host?canary=1", "https://", "a b"])(
    "%s is refused, and not shown",
    (text) => {
      expect(() => parseEndpoint(text)).toThrow(TypeError);
      expect(() => parseEndpoint(text)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining("canary") }),
      );
    },
  );
});
