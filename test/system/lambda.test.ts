/** Lambda on real nodes: many at once with bombs among them, vanished callers, a killed controller, nodes that go. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { openController, type Controller } from '../../cli/connect/connection.js';
import { loadSettings } from '../../shared/config/settings.js';
import { deferred } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import type { LambdaResult } from '../../shared/gen/nexus/v1/lambda.js';
import { eventually, type TestCluster } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface Ran extends LambdaResult {
  readonly stdout: string;
  readonly stderr: string;
}

interface Case {
  readonly code: string;
  readonly timeoutMs?: number;
  check(ran: Ran, salt: number): void;
}

const MIX: readonly Case[] = [
  {
    code: 'import json, sys\nprint(json.dumps({"salt": SALT}))\nsys.exit(SALT % 7)',
    check: (ran, salt) => {
      expect(ran).to.include({ reason: 'exit', exitCode: salt % 7, stdout: `{"salt": ${salt}}\n` });
    },
  },
  {
    code: 'print("before", SALT)\nraise ValueError("no SALT")',
    check: (ran, salt) => {
      expect(ran).to.include({ reason: 'exit', exitCode: 1, stdout: `before ${salt}\n` });
      expect(ran.stderr).to.contain('ValueError: no SALT'.replace('SALT', String(salt)));
    },
  },
  {
    code: 'import os\nprint(sum(range(20000)) + SALT, os.listdir("/tmp"))\nopen("/tmp/left", "w").write("x")',
    check: (ran, salt) => {
      expect(ran).to.include({ reason: 'exit', exitCode: 0, stdout: `${199990000 + salt} []\n` });
    },
  },
  {
    code: 'import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint("SALT", flush=True)\ntime.sleep(60)',
    // Time enough to say a line on a machine where much else runs.
    timeoutMs: 1500,
    check: (ran, salt) => {
      expect(ran).to.include({ reason: 'timeout', stdout: `${salt}\n` });
    },
  },
  {
    code: 'pages = []\nwhile True: pages.append(bytearray(1 << 20))',
    check: (ran) => {
      expect(ran.reason).to.equal('out_of_memory');
    },
  },
  {
    code: 'import os\nwhile True: os.write(1, b"x" * 65536)',
    check: (ran) => {
      expect(ran.reason).to.equal('output_limit');
      expect(ran.stdout.length).to.equal(1024 * 1024);
    },
  },
  {
    code: 'import os, time\ntry:\n  while True:\n    if os.fork() == 0:\n      os.setsid(); time.sleep(60); os._exit(0)\nexcept OSError: print("full", SALT)',
    check: (ran, salt) => {
      expect(ran).to.include({ reason: 'exit', stdout: `full ${salt}\n` });
    },
  },
];
/** Bombs are rarer than good code, as in life; each kind is there many times over. */
const ORDER = [0, 1, 2, 0, 0, 3, 1, 2, 0, 4, 0, 2, 1, 5, 0, 0, 2, 6, 0, 0];

const settingsOf = (cluster: TestCluster): ReturnType<typeof loadSettings> =>
  loadSettings({ env: { ...cluster.env, NEXUS_CONFIG: undefined }, uid: 0 });

/** `onOutput` is told of what it prints, while it runs. */
async function run(
  controller: Controller,
  code: string,
  timeoutMs = 20_000,
  onOutput?: (stdout: string) => void,
): Promise<Ran> {
  const said = { stdout: '', stderr: '' };
  const request = { code, runtime: '', limits: { timeoutMs, memoryMb: 64 }, input: undefined };
  for await (const { stdout, stderr, result } of controller.messages(controller.lambda.runLambda(request))) {
    if (stdout !== undefined) {
      said.stdout += Buffer.from(stdout).toString('utf8');
      onOutput?.(said.stdout);
    }
    if (stderr !== undefined) said.stderr += Buffer.from(stderr).toString('utf8');
    if (result !== undefined) return { ...result, ...said };
  }
  throw new NexusError('cancelled', 'no result');
}

/** Processes of sandboxes, by the users that only they have. */
function sandboxProcesses(uidBase: number): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const status = read(`/proc/${pid}/status`);
      const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? -1);
      return uid >= uidBase && uid < uidBase + 1000;
    });
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** Groups come and go meanwhile; one that has gone holds nothing. */
function foldersBelow(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const below = entries.map(({ name }) => join(folder, name));
    return [...below, ...below.flatMap(foldersBelow)];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Of the instance's sandboxes, on every hierarchy that is mounted. */
function sandboxCgroups(instance: string): string[] {
  const root = '/sys/fs/cgroup';
  return [root, ...readdirSync(root).map((name) => join(root, name))]
    .map((folder) => join(folder, `nexus-${instance}`))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => foldersBelow(folder))
    .filter((path) => /\/lambda-[^/]+$/.test(path));
}

/** Namespaces that the controller or the launcher holds open beyond its own: what no process is in lives on by that alone. */
function heldNamespaces(controllerPid: number): string[] {
  const children = readdirSync('/proc').filter(
    (pid) => Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) === controllerPid,
  );
  return [String(controllerPid), ...children].flatMap((pid) => {
    const own = linkAt(`/proc/${pid}/ns/pid`);
    return foldersIn(`/proc/${pid}/fd`)
      .map((descriptor) => linkAt(`/proc/${pid}/fd/${descriptor}`))
      .filter((link) => /^(user|pid|net|ipc|uts|cgroup|mnt):\[/.test(link) && link !== own);
  });
}

function linkAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

const foldersIn = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);

/** Of this instance alone: others use the machine, too. */
const mountsOf = (instance: string): string[] =>
  read('/proc/self/mounts')
    .split('\n')
    .filter((line) => line.includes(`nexus-${instance}`));

// Another range of users than a person's cluster has, so that processes are told apart; no pool, so that what is counted
// afterwards is what invocations left.
const UID_BASE = 1_800_000;

describeWithCluster(
  'lambda, many at once',
  {
    env: {
      NEXUS_LAMBDA_UID_BASE: String(UID_BASE),
      NEXUS_LAMBDA_POOL_MIN: '0',
      NEXUS_LAMBDA_POOL_MAX: '0',
      NEXUS_LAMBDA_USER_CONCURRENCY: '12',
      NEXUS_LAMBDA_QUEUE_TIMEOUT_MS: '60000',
    },
  },
  (cluster) => {
    let controller: Controller;
    before(async () => {
      for (const name of ['a', 'b']) await cluster().ok('node', 'create', name, '--storage', '64M', '--mem', '512M');
      controller = await openController(settingsOf(cluster()), new AbortController().signal);
    });
    after(() => controller.close());

    it('answers 1,000 invocations, 50 at a time, each rightly, and leaves nothing', async function () {
      this.timeout(600_000);
      await run(controller, 'pass');
      const failures: string[] = [];
      let next = 0;
      const worker = async (): Promise<void> => {
        for (let salt = next++; salt < 1000; salt = next++) {
          const one = MIX[ORDER[salt % ORDER.length] ?? 0]!;
          try {
            one.check(await run(controller, one.code.replaceAll('SALT', String(salt)), one.timeoutMs), salt);
          } catch (error) {
            failures.push(`${salt}: ${(error as Error).message}`);
          }
        }
      };
      await Promise.all(Array.from({ length: 50 }, worker));
      expect(failures).to.deep.equal([]);
      expect(sandboxProcesses(UID_BASE), 'processes').to.deep.equal([]);
      expect(sandboxCgroups(cluster().instance), 'cgroups').to.deep.equal([]);
      expect(mountsOf(cluster().instance), 'mounts').to.deep.equal([]);
      expect(heldNamespaces(cluster().controllerPid), 'namespaces').to.deep.equal([]);
      const statistics = await cluster().json<{ invocations: Record<string, number> }>('lambda', 'stats');
      expect(statistics.invocations).to.include({ timeout: 50, out_of_memory: 50, output_limit: 50, cancelled: 0 });
    });

    it('ends the code of a caller that vanishes', async () => {
      const gone = new AbortController();
      const caller = await openController(settingsOf(cluster()), gone.signal);
      const running = run(caller, 'import time\ntime.sleep(60)');
      running.catch(() => undefined);
      await eventually(
        () => sandboxProcesses(UID_BASE),
        (pids) => pids.length >= 2,
      );
      gone.abort();
      await eventually(
        () => [...sandboxProcesses(UID_BASE), ...sandboxCgroups(cluster().instance)],
        (left) => left.length === 0,
      );
      await running.catch(() => undefined);
      await caller.close();
    });

    it('goes with its node: a stopped one waits for what runs and then ends it', async () => {
      const [shortBegan, longBegan] = [deferred<string>(), deferred<string>()];
      const sleep = (seconds: number): string =>
        `import time\nprint("began", flush=True)\ntime.sleep(${seconds})\nprint("done")`;
      const short = run(controller, sleep(1), undefined, shortBegan.resolve);
      const long = run(controller, sleep(60), undefined, longBegan.resolve).catch(
        (error: unknown) => (error as NexusError).code,
      );
      // Not by the processes there are: prewarmed sandboxes have some, too.
      await Promise.all([shortBegan.promise, longBegan.promise]);
      await Promise.all(['a', 'b'].map((name) => cluster().ok('node', 'stop', name)));
      expect((await short).stdout).to.equal('began\ndone\n');
      expect(await long).to.equal('unavailable');
      expect(sandboxCgroups(cluster().instance)).to.deep.equal([]);
      const refused = await cluster().runWith({ input: 'print(1)' }, 'lambda', 'run', '-');
      expect(refused.code).to.equal(4);
      expect(refused.stderr).to.contain('is Stopped');
    });
  },
);

describeWithCluster('lambda and a killed controller', { env: { NEXUS_LAMBDA_UID_BASE: '1810000' } }, (cluster) => {
  it('leaves nothing of 20 invocations, and runs code again', async () => {
    await cluster().ok('node', 'create', 'a', '--storage', '64M', '--mem', '1024M');
    const controller = await openController(settingsOf(cluster()), new AbortController().signal);
    const code = 'import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(120)';
    const all = Array.from({ length: 20 }, () => run(controller, code).catch(() => undefined));
    await eventually(
      () => sandboxProcesses(1_810_000),
      // A first process, an interpreter and a child each, for as many as one user may run at once.
      (pids) => pids.length >= 24,
    );
    await cluster().killController();
    await Promise.all(all);
    await controller.close();
    await eventually(
      () => sandboxProcesses(1_810_000),
      (pids) => pids.length === 0,
    );
    await cluster().startController({ NEXUS_LAMBDA_POOL_MIN: '0', NEXUS_LAMBDA_POOL_MAX: '0' });
    expect(sandboxCgroups(cluster().instance)).to.deep.equal([]);
    const again = await cluster().runWith({ input: 'print(6 * 7)' }, 'lambda', 'run', '-');
    expect(again).to.deep.equal({ code: 0, stdout: '42\n', stderr: '' });
  });
});

describeWithCluster('lambda as people use it', {}, (cluster) => {
  before(async () => {
    await cluster().ok('node', 'create', 'a', '--storage', '64M', '--mem', '256M');
  });

  it('holds every attack of the escape suite', async function () {
    this.timeout(600_000);
    const rows = await cluster().json<{ name: string; held: boolean; by: string }[]>('lambda', 'selftest');
    expect(rows.filter(({ held }) => !held)).to.deep.equal([]);
    expect(rows.length).to.be.greaterThan(30);
  });

  it('keeps functions, and the logs of their invocations', async () => {
    const code = 'def handler(event):\n    print("called")\n    return {"n": event["n"] * 2}\n';
    const deployed = await cluster().runWith({ input: code }, 'lambda', 'deploy', 'double', '-', '-o', 'json');
    const first = JSON.parse(deployed.stdout) as { version: string; versions: number };
    expect(await cluster().ok('lambda', 'invoke', 'double', '--event', '{"n": 21}')).to.equal('called\n{"n": 42}\n');
    const event = ['--event', '{"n": 10000000000000000000}'];
    const shown = await cluster().ok('lambda', 'invoke', 'double', ...event, '-o', 'json');
    expect(JSON.parse(shown)).to.deep.include({ stdout: 'called\n', result: { n: 2e19 }, exit_code: 0 });
    expect(shown, 'as it was written').to.contain('"result": {"n": 20000000000000000000}');
    const yaml = await cluster().ok('lambda', 'invoke', 'double', ...event, '-o', 'yaml');
    expect(yaml).to.contain('\nresult: {"n": 20000000000000000000}\n');
    await cluster().runWith({ input: `${code}# newer\n` }, 'lambda', 'deploy', 'double', '-');
    const [listed] = await cluster().json<{ version: string; versions: number }[]>('lambda', 'ls');
    expect(listed?.versions).to.equal(2);
    expect(listed?.version).not.to.equal(first.version);
    const broken = await cluster().run('lambda', 'invoke', 'double', '--event', '{}');
    expect(broken.code).to.equal(1);
    expect(broken.stderr).to.contain("KeyError: 'n'");
    const logs = await cluster().json<{ output: string; exit_code: number }[]>('lambda', 'logs', 'double');
    expect(logs.map(({ exit_code: exitCode }) => exitCode)).to.deep.equal([0, 0, 0, 1]);
    expect(logs[0]?.output).to.equal('called\n{"n": 42}\n');
    await cluster().createUser('other');
    expect(await cluster().run('lambda', 'invoke', 'double', '--as', 'other')).to.include({ code: 3 });
    await cluster().ok('lambda', 'rm', 'double');
    expect(await cluster().run('lambda', 'invoke', 'double')).to.include({ code: 3 });
    expect(await cluster().run('lambda', 'rm', 'double')).to.include({ code: 3 });
  });

  it('hands in files, bytes that are no text, and tells why code ended', async () => {
    await cluster().runWith({ input: 'some words' }, 'fs', 'upload', '-', '/data/w.txt', '-p');
    const code = 'import sys\nsys.stdout.buffer.write(b"\\xff" + open("/mnt/data/w.txt", "rb").read())\nsys.exit(9)';
    const ran = await cluster().runWith({ input: code }, 'lambda', 'run', '-', '--file', '/data/w.txt', '-o', 'json');
    expect(ran.code).to.equal(9);
    const shown = JSON.parse(ran.stdout) as Record<string, unknown>;
    expect(Buffer.from(String(shown['stdout_base64']), 'base64').toString('latin1')).to.equal('\xffsome words');
    expect(shown).to.include({ exit_code: 9, reason: 'exit', node: 'a' });
    const late = await cluster().runWith({ input: 'while 1: pass' }, 'lambda', 'run', '-', '--timeout', '300ms');
    expect(late.code).to.equal(124);
    expect(late.stderr).to.contain('--timeout');
    for (const [input, code, reason] of [
      ['print("begun", flush=True)\nwhile 1: pass', 124, 'timeout'],
      ['print("begun", flush=True)\nwhile 1: print("x" * 4096)', 137, 'output_limit'],
    ] as const) {
      const ended = await cluster().runWith({ input }, 'lambda', 'run', '-', '--timeout', '2s', '-o', 'json');
      expect(ended.code).to.equal(code);
      expect(JSON.parse(ended.stdout), 'as the command').to.include({ exit_code: code, reason });
    }
    const open = 'def handler(event):\n    print("no end", end="")\n    return None\n';
    const own = await cluster().runWith({ input: open }, 'lambda', 'run', '-', '--event', '1');
    expect(own, 'on a line of its own').to.deep.equal({ code: 0, stdout: 'no end\nnull\n', stderr: '' });
    const nowhere = await cluster().runWith({ input: 'x' }, 'lambda', 'run', '-', '--file', '/none');
    expect(nowhere.code).to.equal(3);
    const much = await cluster().runWith({ input: 'x' }, 'lambda', 'run', '-', '--mem', '9999');
    expect(much.code).to.equal(2);
    expect(much.stderr).to.contain('mem');
  });
});
