/** Somebody at another machine, as far as that can be had here: an own home, no rights on this host, only a URL. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, PROJECT, type CliResult, type TestCluster } from './cluster.js';

const CLI = join(PROJECT, 'dist', 'cli', 'main.js');
/** nobody: may read what everybody may, and no socket of the cluster. */
const UID = 65_534;

export class RemoteUser {
  readonly home: string;
  readonly sessionFile: string;

  constructor(
    private readonly cluster: TestCluster,
    readonly name: string,
    readonly password: string,
  ) {
    this.home = mkdtempSync(join(tmpdir(), `nexus-home-${name}-`));
    chownSync(this.home, UID, UID);
    this.sessionFile = join(this.home, '.config', 'nexus', 'sessions.json');
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    return spawn(process.execPath, [CLI, ...args], {
      env: { PATH: process.env['PATH'], HOME: this.home, ...env },
      cwd: this.home,
      uid: UID,
      gid: UID,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }

  async run(...args: string[]): Promise<CliResult> {
    return await this.runWith('', ...args);
  }

  async runWith(input: string | Buffer, ...args: string[]): Promise<CliResult> {
    const child = this.start(args);
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
    return await resultOf(child);
  }

  /** Runs it and expects success. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`${this.name}: nexus ${args.join(' ')} exited ${code}: ${stderr}`);
    return stdout;
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.ok(...args, '--output', 'json')) as T;
  }

  /** Types name and password, waits for the mail, types the code. */
  async logIn(url: string, ...flags: readonly string[]): Promise<CliResult> {
    const before = this.#mails().length;
    const child = this.start(['login', url, ...flags]);
    const result = resultOf(child);
    child.stdin?.write(`${this.name}\n${this.password}\n`);
    const mails = await eventually(
      () => this.#mails(),
      (now) => now.length > before,
    );
    child.stdin?.end(`${/^Code: (\d{6})$/m.exec(mails.at(-1) ?? '')?.[1] ?? ''}\n`);
    return await result;
  }

  dispose(): void {
    rmSync(this.home, { recursive: true, force: true });
  }

  /** A file of their own with this content. */
  own(path: string): string {
    chownSync(path, UID, UID);
    chmodSync(path, 0o600);
    return path;
  }

  /** To this user, oldest first. */
  #mails(): string[] {
    const outbox = join(this.cluster.stateDir, 'outbox');
    const names = readdirSync(outbox).filter((name) => name.endsWith('.eml'));
    const texts = names.sort().map((name) => readFileSync(join(outbox, name), 'utf8'));
    return texts.filter((text) => text.includes(`${this.name}@example.org`));
  }
}

function resultOf(child: ChildProcess): Promise<CliResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (data: Buffer) => stdout.push(data));
  child.stderr?.on('data', (data: Buffer) => stderr.push(data));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      const text = (parts: Buffer[]): string => Buffer.concat(parts).toString('utf8');
      resolve({ code: code ?? 1, stdout: text(stdout), stderr: text(stderr) });
    });
  });
}
