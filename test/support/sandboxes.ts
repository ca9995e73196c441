/** Each implementation of the sandbox runtime, with a node to make sandboxes on, and how to see what is left of them. */
import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { FakeSandboxes, type FakeCode } from '../fakes/sandboxes.js';
import type { SandboxRuntime } from '../../controller/lambda/sandbox/port.js';
import type { TemplateLife } from '../../controller/lambda/sandbox/template-generations.js';
import { TemplateSandboxes } from '../../controller/lambda/sandbox/template.js';
import { detectCgroupLayout } from '../../shared/cgroup/layout.js';
import { runCommand } from '../../shared/exec.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { createLogger } from '../../shared/log.js';
import { PROJECT } from './cluster.js';
import { residueOf, testInstance } from './residue.js';

export interface OpenedSandboxes {
  readonly runtime: SandboxRuntime;
  readonly node: NodeId;
  /** Another controller's view, as after a crash of the first. */
  reopen(): Promise<SandboxRuntime>;
  /** Ends the process that all sandboxes come from, as a crash would; false: there is none. */
  crash(): Promise<boolean>;
  /** Names of sandboxes' cgroups that are there. */
  cgroups(): string[];
  dispose(): Promise<string[]>;
}

export interface SandboxVariant {
  readonly name: string;
  readonly needsRoot: boolean;
  open(): Promise<OpenedSandboxes>;
}

/** What the suite runs, and what the runtime in memory makes of it. */
export const CODE = {
  hello: 'import sys\nprint("out")\nprint("err", file=sys.stderr)\nsys.exit(3)\n',
  echo: 'import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())\n',
  event: 'def handler(event): return event["n"] + 1\n',
  file: 'print(open("/mnt/data/a.txt").read(), end="")\n',
  wait: 'import time\nprint("waiting")\ntime.sleep(250)\n',
  hog: 'pages = []\nwhile True: pages.append(bytearray(1 << 20))\n',
  signal: 'import os\nos.kill(os.getpid(), 15)\n',
} as const;

const PROGRAMS: readonly (readonly [string, FakeCode])[] = [
  [
    CODE.hello,
    async ({ say }) => {
      say('stdout', 'out\n');
      say('stderr', 'err\n');
      return 3;
    },
  ],
  [
    CODE.echo,
    async ({ say, invocation }) => {
      say('stdout', Buffer.from(invocation.stdin).toString('utf8'));
      return 0;
    },
  ],
  [
    CODE.event,
    async ({ say, invocation }) => {
      say('result', `${(JSON.parse(invocation.event ?? '') as { n: number }).n + 1}\n`);
      return 0;
    },
  ],
  [
    CODE.file,
    async ({ say, invocation }) => {
      say('stdout', Buffer.from((await invocation.files[0]?.content()) ?? []).toString('utf8'));
      return 0;
    },
  ],
  [
    CODE.wait,
    ({ say, killed }) =>
      new Promise((resolve) => {
        say('stdout', 'waiting\n');
        killed.addEventListener('abort', () => resolve(137), { once: true });
      }),
  ],
  [CODE.hog, async () => ({ exitCode: 137, outOfMemory: 'limit' })],
  [CODE.signal, async () => 143],
];

const inMemory: SandboxVariant = {
  name: 'in memory',
  needsRoot: false,
  open: async () => {
    const node = newNodeId();
    const runtime = new FakeSandboxes();
    runtime.nodes = new Set([node]);
    for (const [text, code] of PROGRAMS) runtime.programs.set(text, code);
    return {
      runtime,
      node,
      reopen: async () => runtime,
      crash: async () => false,
      cgroups: () => [...runtime.living].map((_, at) => `lambda-${at}`),
      dispose: async () => {
        await runtime.destroy();
        return [];
      },
    };
  },
};

/** Forked from a template in the base image, in the cgroup of a node that has nothing else. */
const template: SandboxVariant = { name: 'template', needsRoot: true, open: () => openTemplate() };

export interface OpenedTemplate extends OpenedSandboxes {
  launchers(): Promise<number[]>;
  /** The memory of the node that sandboxes are made on. */
  limitNode(bytes: number): Promise<void>;
}

export async function openTemplate(life?: TemplateLife): Promise<OpenedTemplate> {
  const instance = testInstance();
  const node = newNodeId();
  const folder = await mkdtemp(join(tmpdir(), `nexus-${instance}-`));
  const parent = `/nexus-${instance}`;
  const rootfs = await baseRoot();
  const groups = await makeCgroups(`${parent}/${node}`);
  const opened: TemplateSandboxes[] = [];
  const make = async (): Promise<TemplateSandboxes> => {
    const one = await TemplateSandboxes.open({
      cgroupParent: parent,
      image: async () => rootfs,
      program: join(PROJECT, 'controller', 'lambda', 'sandbox', 'program'),
      busybox: join(PROJECT, 'dist', 'runtime', 'bin', 'busybox'),
      runDir: join(folder, `run-${opened.length}`),
      uidBase: 790_000,
      startTimeoutMs: 5000,
      log: createLogger('test', 'silent'),
      ...(life === undefined ? {} : { life }),
    });
    opened.push(one);
    return one;
  };
  const runtime = await make();
  return {
    runtime,
    node,
    reopen: make,
    launchers: () => launchers(folder),
    limitNode: async (bytes) => {
      const file = (await detectCgroupLayout()) === 'v2' ? 'memory.max' : 'memory.limit_in_bytes';
      await writeFile(join(groups[0] ?? '', file), String(bytes));
    },
    crash: async () => {
      for (const pid of await launchers(folder)) process.kill(pid, 'SIGKILL');
      return true;
    },
    cgroups: () => readdirSync(groups[0] ?? '').filter((name) => name.startsWith('lambda-')),
    dispose: async () => {
      for (const one of opened) await one.destroy();
      for (const group of groups) {
        await rmdir(group);
        await rmdir(join(group, '..'));
      }
      await rm(folder, { recursive: true, force: true });
      return residueOf(instance);
    },
  };
}

/** By the mount of the socket's folder, which its sandboxes have taken off; only the end of its path shows there. */
async function launchers(folder: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const mounts = await readFile(`/proc/${name}/mountinfo`, 'utf8').catch(() => '');
    if (mounts.includes(`${basename(folder)}/run-`)) found.push(Number(name));
  }
  return found;
}

async function makeCgroups(path: string): Promise<string[]> {
  const root = '/sys/fs/cgroup';
  const isV2 = (await detectCgroupLayout()) === 'v2';
  const groups = isV2 ? [join(root, path)] : ['memory', 'cpu', 'cpuacct', 'pids'].map((name) => join(root, name, path));
  for (const group of groups) await mkdir(group, { recursive: true });
  return groups;
}

/**
 * The base image, unpacked once for all runs beside its archive, and again when the archive is newer. Test files run
 * side by side: each unpacks into a folder of its own, and the first to rename it wins.
 */
async function baseRoot(): Promise<string> {
  const cache = join(PROJECT, '.cache');
  const archive = readdirSync(cache).find((name) => /^base-image-[a-z]+\.tar$/.test(name)) ?? '';
  const version = Math.trunc((await stat(join(cache, archive))).mtimeMs);
  const root = join(cache, `test-root-${version}`);
  if (existsSync(root)) return root;
  for (const name of readdirSync(cache)) {
    const [, older] = /^test-root-(\d+)$/.exec(name) ?? [];
    if (older !== undefined && Number(older) < version) await rm(join(cache, name), { recursive: true, force: true });
  }
  const own = await mkdtemp(join(cache, 'test-root.'));
  try {
    await chmod(own, 0o755);
    await runCommand('tar', ['--extract', '--file', join(cache, archive), '--directory', own]);
    await mkdir(join(own, 'mnt'), { recursive: true });
    await rename(own, root).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    });
  } finally {
    await rm(own, { recursive: true, force: true });
  }
  return root;
}

export const SANDBOXES: readonly SandboxVariant[] = [inMemory, template];
