import { createServer } from "node:net";
import {
  login,
  registerAndLogin,
  type S3Server,
  type VaultClient,
} from "@vaultwarden-stream/testkit";
import { Container } from "./docker.ts";
import { imageWithStandIn } from "./images.ts";

const account = { email: "ann@example.org", password: "correct horse battery staple" };

/** What `status --json` says, as far as the tests look. */
interface Status {
  readonly pid: number;
  readonly serverPid: number | null;
  readonly storedAsOf: string | null;
}

/** A vault in a container, with its store on a server of the testkit. */
export class VaultContainer implements AsyncDisposable {
  readonly container: Container;
  readonly url: string;

  private constructor(container: Container, url: string) {
    this.container = container;
    this.url = url;
  }

  /** @param flags - words for `docker run`; without one for a volume, the disk is a new and empty one. */
  static async start(s3: S3Server, flags: readonly string[] = []): Promise<VaultContainer> {
    const port = await freePort();
    const container = await Container.start({
      image: imageWithStandIn,
      flags,
      env: {
        S3_BUCKET: s3.bucket,
        S3_ENDPOINT: s3.endpoint,
        S3_REGION: s3.region,
        S3_ACCESS_KEY_ID: s3.credentials.accessKeyId,
        S3_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
        ROCKET_ADDRESS: "127.0.0.1",
        ROCKET_PORT: String(port),
        // The stand-in's own: it hashes no slower than it must.
        PASSWORD_ITERATIONS: "1000",
      },
    });
    return new VaultContainer(container, `http://127.0.0.1:${port}`);
  }

  async register(): Promise<VaultClient> {
    await this.container.logged("the vault listens on");
    return registerAndLogin({ url: this.url, ...account });
  }

  async login(): Promise<VaultClient> {
    await this.container.logged("the vault listens on");
    return login({ url: this.url, ...account });
  }

  async status(): Promise<Status> {
    const { code, stdout, stderr } = await this.container.exec(
      "vaultwarden-stream",
      "status",
      "--json",
    );
    if (code !== 0) throw new Error(`status: exit ${code}\n${stderr}`);
    return JSON.parse(stdout) as Status;
  }

  /** Waits until the daemon says that everything written before now is stored. */
  async untilStored(): Promise<void> {
    const nowMs = Date.now();
    await this.container.until("everything is stored", async () => {
      const { storedAsOf } = await this.status();
      return storedAsOf !== null && Date.parse(storedAsOf) > nowMs;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.container[Symbol.asyncDispose]();
  }
}

export async function itemNames(client: VaultClient): Promise<string[]> {
  return (await client.listItems()).map(({ name }) => name);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
