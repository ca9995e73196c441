/**
 * The guest's second disk: the project as it would be installed (bundles, agent runtime, base image, the packages that
 * production needs with their compiled modules), this machine's Node, and the checks. Its name is a checksum of all
 * that is in it, so that a run without changes finds it made; of earlier ones nothing is kept.
 */
import { createHash } from 'node:crypto';
import { cpSync, createReadStream, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { chmod, lstat, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { runCommand } from '../../shared/exec.js';
import { GIB, MIB } from '../../shared/limits.js';
import { PROJECT } from '../support/cluster.js';

export const CACHE = join(PROJECT, '.cache', 'vm');
const GUEST = join(PROJECT, 'test', 'vm', 'guest');
const MKFS_TIMEOUT_MS = 120_000;

/** Path of the disk's image. */
export async function projectDisk(): Promise<string> {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'work-'));
  try {
    const tree = join(work, 'tree');
    await fill(tree);
    const { checksum, bytes } = await measure(tree);
    const disk = join(CACHE, `project-${checksum}.img`);
    if (existsSync(disk)) return disk;
    const image = join(work, 'image');
    // A quarter more for inodes and block maps.
    const size = `${Math.ceil((bytes * 1.25 + 64 * MIB) / MIB)}M`;
    await runCommand('mkfs.ext4', ['-q', '-O', '^has_journal', '-d', tree, image, size], {
      timeoutMs: MKFS_TIMEOUT_MS,
    });
    for (const name of readdirSync(CACHE).filter((old) => old.startsWith('project-'))) rmSync(join(CACHE, name));
    renameSync(image, disk);
    return disk;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function fill(tree: string): Promise<void> {
  const project = join(tree, 'nexus');
  const copy = (from: string, to: string): void => {
    cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  };
  for (const path of ['package.json', 'dist', ...(await packages())]) {
    copy(join(PROJECT, path), join(project, path));
  }
  for (const image of readdirSync(join(PROJECT, '.cache')).filter((name) => /^base-image.*\.tar$/.test(name))) {
    copy(join(PROJECT, '.cache', image), join(project, '.cache', image));
  }
  copy(process.execPath, join(tree, 'bin', 'node'));
  copy(join(GUEST, 'init.sh'), join(tree, 'init'));
  await chmod(join(tree, 'init'), 0o755);
  await writeFile(join(tree, 'guest.mjs'), await bundledChecks());
}

/** Folders below node_modules that production needs. */
async function packages(): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(PROJECT, 'node_modules', '.package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>;
  };
  const needed = Object.entries(lock.packages).filter(
    ([, { dev, devOptional }]) => dev !== true && devOptional !== true,
  );
  // One within another comes along with it.
  const folders = needed.map(([path]) => path).filter((path) => path.lastIndexOf('node_modules') === 0);
  return folders.filter((path) => existsSync(join(PROJECT, path)));
}

async function bundledChecks(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(GUEST, 'main.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}

/** Of names, modes and contents. */
async function measure(tree: string): Promise<{ checksum: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const names = readdirSync(tree, { recursive: true, encoding: 'utf8' }).sort();
  for (const name of names) {
    const path = join(tree, name);
    const found = await lstat(path);
    hash.update(`${name}\0${found.mode}\0`);
    if (found.isSymbolicLink()) hash.update(await readlink(path));
    if (!found.isFile()) continue;
    bytes += found.size;
    for await (const part of createReadStream(path)) hash.update(part as Buffer);
  }
  if (bytes > 2 * GIB) throw new Error(`the project takes ${bytes} bytes: what is all this in node_modules and dist?`);
  return { checksum: hash.digest('hex').slice(0, 12), bytes };
}
