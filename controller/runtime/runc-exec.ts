/** One `runc exec` as an ExecHandle: over pipes, or inside a pseudo terminal of ours that runc passes on. */
import { spawn } from 'node:child_process';
import { spawn as spawnInTerminal, type IPty } from 'node-pty';
import { exitCodeOf } from '../../shared/exec.js';
import { ownOomScore } from '../host/process-identity.js';
import { pipedHandle } from './piped-exec.js';
import type { ExecHandle, ExecSpec } from './port.js';

interface ExecCgroup {
  processes(): Promise<number[]>;
  /** Called once, after the command's end; answers the exit code when the command could not be started at all. */
  release(): Promise<number | undefined>;
}

export function spawnExec(args: readonly string[], spec: ExecSpec, cgroup: ExecCgroup): ExecHandle {
  return spec.tty ? terminalExec(args, spec, cgroup) : pipedExec(args, cgroup);
}

/** When the node runs out of memory its commands die before its agent: what they start inherits the score. */
const firstToGo = (args: readonly string[]): string[] => [
  '--adjust',
  // To lower it, where whoever started the controller made it higher, may be forbidden.
  String(Math.max(500, ownOomScore())),
  '--',
  'runc',
  ...args,
];

/** Nothing in the command's own cgroup survives: a fork between two looks is found by the next one. */
async function killAll(cgroup: ExecCgroup): Promise<void> {
  for (let round = 0; round < MAX_KILL_ROUNDS; round += 1) {
    const pids = await cgroup.processes();
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Ended by itself in between.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const MAX_KILL_ROUNDS = 200;

function pipedExec(args: readonly string[], cgroup: ExecCgroup): ExecHandle {
  const child = spawn('choom', firstToGo(args), { stdio: ['pipe', 'pipe', 'pipe'] });
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => {
      resolve(127);
    });
    child.once('close', (code, signal) => {
      resolve(exitCodeOf(code, signal));
    });
  }).then(async (code) => (await cgroup.release()) ?? code);
  return pipedHandle(child, exited, async () => {
    await killAll(cgroup);
    child.kill('SIGKILL');
  });
}

function terminalExec(args: readonly string[], spec: ExecSpec, cgroup: ExecCgroup): ExecHandle {
  const terminal: IPty = spawnInTerminal('choom', firstToGo(args), {
    name: spec.env['TERM'] ?? 'xterm',
    cols: spec.columns,
    rows: spec.rows,
    encoding: null,
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const exited = new Promise<number>((resolve) => {
    terminal.onExit(({ exitCode, signal }) => {
      resolve(signal === undefined || signal === 0 ? exitCode : 128 + signal);
    });
  }).then(async (code) => (await cgroup.release()) ?? code);
  return {
    exited,
    onOutput: (listener) => {
      terminal.onData((data: string | Buffer) => {
        terminal.pause();
        const resume = (): void => {
          terminal.resume();
        };
        listener('stdout', Buffer.from(data)).then(resume, resume);
      });
    },
    write: (data) => {
      terminal.write(Buffer.from(data));
      return Promise.resolve();
    },
    // End of input is a character on a terminal: ^D.
    endInput: () => {
      terminal.write('\x04');
    },
    resize: (columns, rows) => {
      terminal.resize(columns, rows);
    },
    signal: (name) => {
      terminal.kill(`SIG${name}`);
    },
    kill: async () => {
      await killAll(cgroup);
      terminal.kill('SIGKILL');
    },
  };
}
