/** Starts the controller's process and waits for it. */
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdir, open, rm, rmdir, stat, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { endsWithin } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import { NO_DEBUGGER } from '../../shared/debugger-signal.js';
import { exitOf, startChild, type ChildProcess } from '../../shared/exec.js';
import { AWAITING_LOCK, CONTROLLER_LOG, CONTROLLER_UP } from '../../shared/config/instance.js';
import type { Settings } from '../../shared/config/settings.js';
import { isErrorCode, NexusError } from '../../shared/errors.js';
import { raiseLimits } from '../../shared/host/limits.js';
import { FULL_DISK_BYTES } from '../../shared/limits.js';
import type { Context } from '../runner/context.js';
import { openController, type Controller } from '../connect/connection.js';
import { controllerProgram } from '../local/project.js';
import { notAnswering } from '../connect/silent-controller.js';

const POLL_MS = 25;
const STATUS_DEADLINE_MS = 5000;
/** Time limit for the end of a controller that is stopped while it starts. */
const END_TIMEOUT_MS = 30_000;
/** Wait before a note is printed: a controller that somebody else has just started is usually up by then. */
const PATIENCE_MS = 3000;
/** Time limit for somebody else's start, which may take as long as a slow one with the base image unpacked. */
const OTHERS_TIMEOUT_MS = 60_000;
/** Time between attempts to connect that do not wait for the log, which says nothing on a full disk. */
const ASK_PERIOD_MS = 1000;
/** Most characters quoted from an error of Node itself. */
const MOST_SAID = 200;
const NODE_FLAGS = [NO_DEBUGGER];

export const controllerLog = (settings: Settings): string => join(settings.stateDir, CONTROLLER_LOG);

/** Returns the controller if one answers, undefined if none is there. Code: deadline_exceeded if it does not answer. */
export async function findController(settings: Settings, signal: AbortSignal): Promise<Controller | undefined> {
  try {
    return await openController(settings, signal);
  } catch (error) {
    if (error instanceof NexusError && error.code === 'unavailable') return undefined;
    throw error;
  }
}

/** Undefined also if it does not answer: one that is starting, or on a busy machine, may do so at a later attempt. */
async function tryController(settings: Settings, signal: AbortSignal): Promise<Controller | undefined> {
  try {
    return await findController(settings, signal);
  } catch (error) {
    if (error instanceof NexusError && error.code === 'deadline_exceeded') return undefined;
    throw error;
  }
}

/** Undefined if it does not answer. */
async function pidOf(controller: Controller): Promise<number | undefined> {
  const { cluster } = controller;
  return await controller.call(cluster, cluster.getStatus, {}, STATUS_DEADLINE_MS).then(
    ({ controllerPid }) => controllerPid,
    () => undefined,
  );
}

/**
 * Starts the controller detached, in a session of its own, with its output in <state>/controller.log. Returns when it
 * serves.
 */
export async function startController(context: Context, settings: Settings): Promise<Controller> {
  assertConfigStays(context);
  await raiseLimits();
  const made = await mkdir(settings.stateDir, { recursive: true, mode: 0o700 });
  const path = controllerLog(settings);
  const before = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  const log = await open(path, 'a', 0o600);
  const child = startChild(process.execPath, [...NODE_FLAGS, controllerProgram(), ...settingFlags(settings)], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log.fd, log.fd],
    env: controllerEnvironment(context),
  });
  child.unref();
  await log.close();
  const startedAt = systemClock.monotonic();
  const deadline = startedAt + settings.startTimeoutMs;
  // Set if somebody else was quicker: their controller is as good, and will be up in a moment.
  let other: NexusError | undefined;
  let isTold = false;
  let askedAt = startedAt;
  for (;;) {
    const text = await readFrom(path, before);
    if (!isTold && text.includes(`"note":"${AWAITING_LOCK}"`)) {
      context.note('another controller of this cluster is ending or starting; waiting for it');
      isTold = true;
    }
    const isSaid = other !== undefined || text.includes(`"note":"${CONTROLLER_UP}"`);
    if (isSaid || systemClock.monotonic() > askedAt + ASK_PERIOD_MS) {
      askedAt = systemClock.monotonic();
      // Even if its log says that it serves: on a busy machine a connection may take longer than one attempt waits.
      const controller = await tryController(settings, context.signal).catch((error: unknown) => {
        if (!context.signal.aborted) throw error;
        return undefined;
      });
      if (controller !== undefined && (isSaid || (await pidOf(controller)) === child.pid)) return controller;
      await controller?.close();
    }
    if (other === undefined && (child.exitCode !== null || child.signalCode !== null)) {
      other = await startFailure(settings, before);
      if (other.code !== 'already_exists') {
        if (made !== undefined) await takeBackLog(settings, other);
        throw other;
      }
    }
    if (other !== undefined && !isTold && systemClock.monotonic() > startedAt + PATIENCE_MS) {
      context.note(`${inCommandWords(other)}; waiting until it answers`);
      isTold = true;
    }
    if (
      context.signal.aborted ||
      systemClock.monotonic() > (other === undefined ? deadline : startedAt + OTHERS_TIMEOUT_MS)
    ) {
      await endStarted(child);
      const failure = await notStarted(context, settings, other !== undefined);
      if (made !== undefined && failure.code === 'cancelled') await takeBackLog(settings, failure);
      throw failure;
    }
    await systemClock.sleep(POLL_MS);
  }
}

/**
 * Stops a controller that is starting, which undoes what it has begun. If that takes too long, the next command finds
 * it at work.
 */
async function endStarted(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await endsWithin(END_TIMEOUT_MS, ended);
}

async function notStarted(context: Context, settings: Settings, isOthers: boolean): Promise<NexusError> {
  if (context.signal.aborted) {
    const left = isOthers
      ? 'the controller, which another command started, was left alone'
      : 'the controller was stopped';
    return new NexusError('cancelled', `interrupted; ${left}`);
  }
  if (isOthers) return notAnswering(settings);
  return new NexusError(
    'deadline_exceeded',
    `the controller is not up after ${settings.startTimeoutMs / 1000} s (start-timeout-ms); see ${controllerLog(settings)}${await wordOnDisk(settings.stateDir)}`,
  );
}

/** Explains an empty log if the disk is full; otherwise empty. */
async function wordOnDisk(folder: string): Promise<string> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize < FULL_DISK_BYTES ? `; the disk under ${folder} is full: make room on it, then try again` : '';
}

/** A first start that failed leaves nothing, unless the log says more than the error. */
async function takeBackLog(settings: Settings, failure: NexusError): Promise<void> {
  if (failure.code === 'internal') return;
  await rm(controllerLog(settings), { force: true });
  // Fails if the folder holds anything else, and so is in use.
  await rmdir(settings.stateDir).catch(() => undefined);
}

/** Flags override any file or variable that the controller reads, too: what was decided here applies there. */
function settingFlags(settings: Settings): string[] {
  const { instance, runtime, stateDir, runDir, socket } = settings;
  return [
    ['--instance', instance],
    ['--runtime', runtime],
    ['--state-dir', stateDir],
    ['--run-dir', runDir],
    ['--socket', socket],
  ].flat();
}

/**
 * Refuses a settings file that can't be read twice: the controller reads it again, without these descriptors and
 * without what a pipe gave. Code: invalid_argument.
 */
export function assertConfigStays(context: Context): void {
  const config = configOf(context);
  if (config === undefined) return;
  const path = resolve(config);
  const isPassing =
    /^\/(dev\/(fd\/|std)|proc\/)/.test(path) || statSync(path, { throwIfNoEntry: false })?.isFIFO() === true;
  if (!isPassing) return;
  throw new NexusError(
    'invalid_argument',
    `settings file ${config}: the controller needs one that stays, no pipe or open descriptor; write it to a file`,
  );
}

function configOf({ options, streams }: Context): string | undefined {
  const config = options.config ?? streams.env['NEXUS_CONFIG'];
  return config === '' ? undefined : config;
}

/** Leaves out variables that act before the controller's first line (NODE_*, LD_*); it handles the rest itself. */
function controllerEnvironment(context: Context): NodeJS.ProcessEnv {
  const { env } = context.streams;
  const kept = Object.fromEntries(Object.entries(env).filter(([name]) => !/^(NODE_(?!EXTRA_CA_CERTS)|LD_)/.test(name)));
  const config = configOf(context);
  // The controller may run in another folder.
  return { ...kept, ...(config === undefined ? {} : { NEXUS_CONFIG: resolve(config) }) };
}

/** Returns what was logged since the log had `before` bytes; all of it if it is shorter now, as it began anew. */
async function readFrom(path: string, before: number): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const from = size < before ? 0 : before;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/** Returns the error in the controller's last log line, whose message is for people. */
async function startFailure(settings: Settings, before: number): Promise<NexusError> {
  const path = controllerLog(settings);
  const lines = (await readFrom(path, before)).trim().split('\n');
  // Two controllers that start at once share one log: only a fatal line marks the end of one.
  const last = lines.findLast((line) => line.includes('"level":60')) ?? lines.at(-1) ?? '';
  try {
    const { msg, code } = JSON.parse(last) as { msg?: string; code?: string };
    const known = code !== undefined && isErrorCode(code) ? code : 'failed_precondition';
    if (msg !== undefined) return new NexusError(known, msg);
  } catch {
    // Not a log line: an error of Node itself.
  }
  const word = await wordOnDisk(settings.stateDir);
  // One line, cut short: the rest is for those who read logs.
  const said = lines.findLast((line) => /^[A-Za-z]*Error\b/.test(line))?.slice(0, MOST_SAID);
  return new NexusError(
    word === '' ? 'internal' : 'resource_exhausted',
    `the controller ended at once; see ${path}${said === undefined || word !== '' ? '' : `: ${said}`}${word}`,
  );
}

/** Runs the controller in the foreground, with its log on this terminal; returns its exit code. */
export async function runController(context: Context, settings: Settings): Promise<number> {
  assertConfigStays(context);
  await raiseLimits();
  const child = startChild(process.execPath, [...NODE_FLAGS, controllerProgram(), ...settingFlags(settings)], {
    stdio: 'inherit',
    env: controllerEnvironment(context),
  });
  // A terminal also sends Ctrl-C to the whole group; the controller treats two signals as one.
  context.interrupts.takeOver((signal) => child.kill(signal));
  return await exitOf(child);
}
