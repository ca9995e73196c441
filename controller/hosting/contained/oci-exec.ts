/** One `exec` of an OCI runtime as an ExecHandle: over pipes, or in a terminal of the controller that the runtime forwards. */
import { readFile } from 'node:fs/promises';
import { spawn as spawnInTerminal, type IPty } from 'node-pty';
import { startChild } from '../../../shared/exec.js';
import { systemClock } from '../../../shared/async/clock.js';
import { after, cancel } from '../../../shared/async/timers.js';
import { deferred, outcome } from '../../../shared/async/wait.js';
import { ownOomScore } from '../../host/process-identity.js';
import { asksToEnd } from '../end-commands.js';
import { pipedHandle } from '../piped-exec.js';
import type { ExecHandle, ExecSpec } from '../runtime.js';
import { COMMAND_OOM_SCORE, keeperCommand } from './command-keeper.js';
import { restOfTerminal, type OciProgram } from './programs.js';
import type { StartFailure } from '../start-failure.js';

interface ExecCgroup {
  processes(): Promise<number[]>;
  /**
   * Called once, after the command's end; `isLate`: it was killed because it had not begun in time. Returns the reason
   * if the command could not be started at all.
   */
  release(exitCode: number, isLate: boolean): Promise<StartFailure | undefined>;
}

export interface OciExec {
  readonly program: OciProgram;
  /** The program's arguments before `exec`, with those for its log. */
  readonly global: readonly string[];
  /** Arguments after `exec`. */
  readonly args: readonly string[];
  /** Where the program writes the command's process id; none before there is one. */
  readonly pidFile: string;
  /**
   * How long the command may take to begin. Until then it is the program's own process, which reads files of the node,
   * /etc/passwd among them, and would wait at a named pipe for ever.
   */
  readonly beginMs: number;
  /** File for the program's own messages. */
  readonly log: string;
  readonly cgroup: ExecCgroup;
}

export const spawnExec = (exec: OciExec, spec: ExecSpec): ExecHandle =>
  spec.tty ? terminalExec(exec, spec) : pipedExec(exec);

/** Kills everything in the command's cgroup, in rounds: forks during a round are found in the next. */
export async function killAll(cgroup: Pick<ExecCgroup, 'processes'>): Promise<void> {
  for (let round = 0; round < MAX_KILL_ROUNDS; round += 1) {
    const pids = await cgroup.processes();
    if (pids.length === 0) return;
    sendTo(pids, 'SIGKILL');
    await systemClock.sleep(5);
  }
}

const MAX_KILL_ROUNDS = 200;

function sendTo(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // Ended by itself in between.
    }
  }
}

/** Whether the command has taken the place of the program's own process. */
async function hasBegun({ program, pidFile }: OciExec): Promise<boolean> {
  const pid = await readFile(pidFile, 'utf8').catch(() => '');
  if (pid === '') return false;
  const name = await readFile(`/proc/${Number(pid)}/comm`, 'utf8').catch(() => '');
  return name.trimEnd() !== program.ownProcess;
}

/** Beginning, exit and signals of a command whose parent process, which forwards signals, is `parent`. */
function controlOf(
  exec: OciExec,
  parent: { kill(signal: NodeJS.Signals): unknown },
): Pick<ExecHandle, 'kill' | 'signal'> & { atEnd(exitCode: number): Promise<StartFailure | undefined> } {
  const { cgroup } = exec;
  let wasAsked = false;
  let isLate = false;
  const kill = async (): Promise<void> => {
    wasAsked = true;
    await killAll(cgroup);
    parent.kill('SIGKILL');
  };
  const overdue = async (): Promise<void> => {
    if (wasAsked || (await hasBegun(exec))) return;
    isLate = true;
    await kill();
  };
  const watch = after(exec.beginMs, () => void overdue());
  return {
    kill,
    signal: (name) => {
      const signal = `SIG${name}` as NodeJS.Signals;
      wasAsked ||= asksToEnd(signal);
      // SIGKILL and SIGSTOP can't be forwarded.
      if (name === 'KILL') void kill();
      else if (name === 'STOP') void cgroup.processes().then((pids) => sendTo(pids, signal));
      else parent.kill(signal);
    },
    atEnd: async (exitCode) => {
      cancel(watch);
      if (wasAsked) await killAll(cgroup);
      return await cgroup.release(exitCode, isLate);
    },
  };
}

function pipedExec(exec: OciExec): ExecHandle {
  const { program, global, args, pidFile, log } = exec;
  const words = [program.name, ...global, 'exec', '--detach', '--pid-file', pidFile, ...args];
  const [keeper = '', ...rest] = keeperCommand({ pidFile, log, ownProcess: program.ownProcess }, words);
  const child = startChild(keeper, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
  const { atEnd, ...control } = controlOf(exec, child);
  return pipedHandle(child, atEnd, control);
}

/**
 * runc switches the node's terminal to line ends of its own, and expects this one to add carriage returns. Instead the
 * node's terminal shall add them (see withTerminal in bundle.ts), because programs can change that, and this one
 * nothing, not even an echo. A byte reports that this is set: earlier input, above all an end of input, would be
 * interpreted by this terminal. The runtime's messages are dropped here, as its log has them: the command's output comes
 * from the terminal in the node.
 */
const PLAIN_TERMINAL = 'stty raw -echo -onlcr && printf . && exec choom "$@" 2>/dev/null';

function terminalExec(exec: OciExec, spec: ExecSpec): ExecHandle {
  const { program, global, args, pidFile, log } = exec;
  const score = String(Math.max(COMMAND_OOM_SCORE, ownOomScore()));
  const words = ['--adjust', score, '--', program.name, ...global, 'exec', '--pid-file', pidFile, ...args];
  const terminal: IPty = spawnInTerminal('sh', ['-c', PLAIN_TERMINAL, 'sh', ...words], {
    name: spec.env['TERM'] ?? 'xterm',
    cols: spec.columns,
    rows: spec.rows,
    encoding: null,
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const { atEnd, ...control } = controlOf(exec, {
    kill: (signal) => {
      terminal.kill(signal);
      // A stopped process would not receive the signal.
      if (asksToEnd(signal)) terminal.kill('SIGCONT');
    },
  });
  let say: (words: Buffer) => Promise<void> = () => Promise.resolve();
  const ended = deferred<number>();
  terminal.onExit(({ exitCode, signal }) => {
    ended.resolve(signal === undefined || signal === 0 ? exitCode : 128 + signal);
  });
  const exited = ended.promise.then(async (code) => {
    // The log is gone after the end.
    const rest = program.endsInLog ? restOfTerminal(await readFile(log).catch(() => NOTHING)) : NOTHING;
    const failure = await atEnd(code);
    const last = failure === undefined ? rest : Buffer.from(`${failure.words}\r\n`);
    // The reader may be gone already.
    if (last.length > 0) await say(last).catch(() => undefined);
    return failure?.exitCode ?? code;
  });
  const isPlain = plainness(terminal);
  return {
    ...control,
    exited,
    onOutput: (listener) => {
      let isFirst = true;
      say = (words) => listener('stdout', words);
      terminal.onData((data: string | Buffer) => {
        const output = Buffer.from(data).subarray(isFirst ? 1 : 0);
        isFirst = false;
        if (output.length === 0) return;
        terminal.pause();
        const resume = (): void => {
          terminal.resume();
        };
        listener('stdout', output).then(resume, resume);
      });
    },
    write: async (data) => {
      await isPlain;
      terminal.write(Buffer.from(data));
    },
    // End of input is a character on a terminal: ^D.
    endInput: () => {
      void isPlain.then(() => {
        terminal.write('\x04');
      });
    },
    resize: (columns, rows) => {
      terminal.resize(columns, rows);
    },
  };
}

const NOTHING = Buffer.alloc(0);

/** Resolves with the first byte, or the end. */
const plainness = (terminal: IPty): Promise<void> =>
  outcome((resolve) => {
    const first = terminal.onData(() => resolve());
    terminal.onExit(() => resolve());
    return () => first.dispose();
  });
