/**
 * The guest's second disk: the project as deploy/install.sh installs it, this machine's Node, and the checks. Its name
 * is a checksum of all that is in it, so that a run without changes finds it made; of earlier ones nothing is kept.
 */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { chmod, lstat, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { runCommand } from '../../shared/exec.js';
import { GIB, MIB } from '../../shared/limits.js';
import { PROJECT } from '../support/cluster.js';

export const CACHE = join(PROJECT, '.cache', 'vm');
const GUEST = join(PROJECT, 'test', 'vm', 'guest');
const MKFS_TIMEOUT_MS = 120_000;
const INSTALL_TIMEOUT_MS = 240_000;

/** Path of the disk's image. */
export async function projectDisk(): Promise<string> {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'work-'));
  try {
    const tree = join(work, 'tree');
    await fill(tree, join(work, 'installed'));
    const { checksum, bytes } = await measure(tree);
    const disk = join(CACHE, `project-${checksum}.img`);
    if (existsSync(disk)) return disk;
    const image = join(work, 'image');
    // A quarter more for inodes and block maps.
    const size = `${Math.ceil((bytes * 1.25 + 64 * MIB) / MIB)}M`;
    await runCommand('mkfs.ext4', ['-q', '-O', '^has_journal', '-d', tree, image, size], {
      failure: 'the disk cannot be made',
      timeoutMs: MKFS_TIMEOUT_MS,
    });
    for (const name of readdirSync(CACHE).filter((old) => old.startsWith('project-'))) rmSync(join(CACHE, name));
    renameSync(image, disk);
    return disk;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The installation's /opt, what it puts elsewhere (as `host`), Node, and the checks with the unit that starts them. */
async function fill(tree: string, destination: string): Promise<void> {
  const env = { ...process.env, DESTDIR: destination, NODE: '/usr/bin/node' };
  await runCommand('deploy/install.sh', [], {
    failure: 'the disk cannot be made',
    cwd: PROJECT,
    env,
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
  renameSync(join(destination, 'opt'), tree);
  const host = join(tree, 'host');
  renameSync(destination, host);
  copyFileSync(join(GUEST, 'nexus-checks.service'), join(host, 'etc', 'systemd', 'system', 'nexus-checks.service'));
  mkdirSync(join(host, 'usr', 'bin'));
  symlinkSync('/opt/bin/node', join(host, 'usr', 'bin', 'node'));
  mkdirSync(join(tree, 'bin'));
  copyFileSync(process.execPath, join(tree, 'bin', 'node'));
  copyFileSync(join(GUEST, 'init.sh'), join(tree, 'init'));
  await chmod(join(tree, 'init'), 0o755);
  await writeFile(join(tree, 'guest.mjs'), await bundledChecks());
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
