/**
 * A virtual machine that runs the checks and powers itself off. Its disks are never written: what it changes goes to a
 * temporary file that QEMU has unlinked already. Emulated (tcg), because the tests must run in a machine that lets no
 * other be nested in it. At its time limit it is killed, by its process number.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CACHE } from './project-disk.js';
import { decodeReport, type CheckReport } from './report.js';

export interface MachineOptions {
  /** Folder with vmlinuz, initramfs and root.img. */
  readonly system: string;
  readonly projectDisk: string;
  readonly isShort: boolean;
  readonly timeLimitMs: number;
}

const CONSOLE = join(CACHE, 'console.log');
const CONSOLE_TAIL_LINES = 80;
/** Two nodes, a controller and what tmpfs holds of a file and its copy. */
const MEMORY_MB = 2048;

export class Machine {
  readonly #reports = new Map<string, CheckReport>();
  #waiting: (() => void)[] = [];
  #end: string | undefined;
  #hasSpoken = false;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  constructor(options: MachineOptions) {
    const child = spawn('qemu-system-x86_64', machineArguments(options), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let complaint = '';
    child.stderr.on('data', (data: Buffer) => (complaint += data.toString('utf8')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const report = decodeReport(line);
      this.#reports.set(report.check, report);
      this.#wake();
    });
    const timer = setTimeout(() => {
      this.#end = `it was killed at its time limit of ${options.timeLimitMs / 1000} s`;
      child.kill('SIGKILL');
    }, options.timeLimitMs);
    this.#ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        complaint += error.message;
        resolve();
      });
      child.once('close', () => {
        resolve();
      });
    }).then(() => {
      clearTimeout(timer);
      this.#end ??= complaint === '' ? 'it has powered off' : complaint.trim();
      this.#wake();
    });
  }

  /** Resolves when the guest has told of the check; fails when the machine ended before. */
  async reportOf(check: string): Promise<CheckReport> {
    for (;;) {
      const report = this.#reports.get(check);
      if (report !== undefined) return report;
      if (this.#end !== undefined)
        throw new Error(`the machine told nothing of this check: ${this.#end}${this.#lastWords()}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Resolves when the machine has powered itself off, or has been killed at its time limit. */
  async end(): Promise<string> {
    await this.#ended;
    return this.#end ?? '';
  }

  async destroy(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Once is enough: it would be the same for every check that follows. */
  #lastWords(): string {
    const said = this.#hasSpoken ? '' : `\n${consoleTail()}`;
    this.#hasSpoken = true;
    return said;
  }

  #wake(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}

function machineArguments({ system, projectDisk, isShort }: MachineOptions): string[] {
  const disk = (file: string): string[] => ['-drive', `file=${file},if=virtio,format=raw,cache=unsafe`];
  // The kernel hands what it doesn't know to the first process as its environment.
  const boot = [
    'console=ttyS0',
    'quiet',
    'panic=-1',
    'no_timer_check',
    'mitigations=off',
    ...(isShort ? ['NEXUS_VM_SHORT=1'] : []),
  ].join(' ');
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-snapshot'],
    ...['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max', '-smp', '2', '-m', String(MEMORY_MB)],
    ...['-kernel', join(system, 'vmlinuz'), '-initrd', join(system, 'initramfs'), '-append', boot],
    ...[...disk(join(system, 'root.img')), ...disk(projectDisk)],
    ...['-serial', `file:${CONSOLE}`, '-serial', 'stdio'],
  ];
}

/** For messages of failed checks; the whole of it stays in the file until the next run. */
function consoleTail(): string {
  const lines = readFileSync(CONSOLE, 'utf8').replaceAll('\r', '').trimEnd().split('\n');
  return [`--- end of ${CONSOLE}`, ...lines.slice(-CONSOLE_TAIL_LINES), '---'].join('\n');
}
