/**
 * The product in the guest as its checks see it: the command line and the kernel's own files.
 * One instance for all checks, which build on one another: a cluster takes half a minute to come up there.
 */
import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface NodeJson {
  readonly id: string;
  readonly status: string;
  readonly status_reason?: string;
  readonly pid: number;
  readonly agent_started_at?: string;
}

const execute = promisify(execFile);

/** What the launcher comes to in the end; what it looks at before would take seconds each time. */
const CLI = ['/opt/nexus/dist/cli/main.js'];
/** The first `up` unpacks the base image: the longest of all. */
const COMMAND_TIMEOUT_MS = 900_000;
const TAIL_LINES = 30;

export class Guest {
  /** The default one, which the units start. */
  readonly instance = 'nexus';
  /** What one check leaves for a later one, by a name that both know. */
  readonly kept = new Map<string, string>();

  /** Never throws for the exit code. */
  run(...args: string[]): Promise<CliResult> {
    return this.start(args).result;
  }

  /** A command that goes on; `stop` interrupts it as Ctrl-C would. */
  start(args: readonly string[]): { result: Promise<CliResult>; said: () => string; stop: () => void } {
    const child = spawn(process.execPath, [...CLI, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: COMMAND_TIMEOUT_MS,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString('utf8')));
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString('utf8')));
    const result = new Promise<CliResult>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        resolve({ code: code ?? 1, stdout, stderr });
      });
    });
    return { result, said: () => stdout, stop: () => child.kill('SIGINT') };
  }

  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`nexus ${args.join(' ')} exited ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  async json<T>(...args: string[]): Promise<T> {
    const [options, command] = args.includes('--')
      ? [args.slice(0, args.indexOf('--')), args.slice(args.indexOf('--'))]
      : [args, []];
    return JSON.parse(await this.ok(...options, '--output', 'json', ...command)) as T;
  }

  inspect(node: string): Promise<NodeJson> {
    return this.json<NodeJson>('node', 'inspect', node);
  }

  exec(node: string, ...command: string[]): Promise<CliResult> {
    return this.run('node', 'exec', node, '--', ...command);
  }

  /** A file of the node's cgroup, trimmed. */
  cgroup(node: NodeJson, ...path: string[]): string {
    return readFileSync(this.cgroupPath(node, ...path), 'utf8').trim();
  }

  cgroupPath(node: NodeJson, ...path: string[]): string {
    return join('/sys/fs/cgroup/nexus', node.id, ...path);
  }

  /** What a person would look at after a failure. */
  async findings(): Promise<string> {
    const journal = async (name: string): Promise<string> =>
      (await execute('journalctl', ['-u', `nexus-${name}`, '-n', String(TAIL_LINES), '--no-pager', '-o', 'cat']))
        .stdout;
    const controller = await journal('controller');
    const gateway = await journal('gateway');
    const events = await this.run('events').then(({ stdout }) => stdout.split('\n').slice(-TAIL_LINES).join('\n'));
    const nats = tail('/run/nexus/nats.d/nats.log');
    return `vm: the controller's log ends with\n${controller}\nvm: the gateway's log ends with\n${gateway}\nvm: nats-server's log ends with\n${nats}\nvm: the last events\n${events}`;
  }
}

function tail(path: string): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  } catch {
    return '(it cannot be read)';
  }
}

/** Looks again until `check` holds; says what was last seen when it never does. */
export async function eventually<T>(
  look: () => Promise<T> | T,
  check: (seen: T) => boolean,
  withinMs: number,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (check(seen)) return seen;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms; last seen: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
