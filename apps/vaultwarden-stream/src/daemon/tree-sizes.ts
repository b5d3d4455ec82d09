import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

export interface TreeSizes {
  readonly files: number;
  readonly bytes: number;
}

/**
 * How much lies in the trees: an estimate of what there will be to upload, for which what cannot be read, or goes away meanwhile, counts as nothing.
 *
 * @param paths - directories and files; they need not exist.
 */
export async function measureTrees(paths: readonly string[]): Promise<TreeSizes> {
  let files = 0;
  let bytes = 0;
  const add = async (path: string): Promise<void> => {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory() === true) {
      for (const name of await readdir(path).catch(() => [])) await add(join(path, name));
    } else if (found !== undefined) {
      files += 1;
      bytes += found.size;
    }
  };
  for (const path of paths) await add(path);
  return { files, bytes };
}
