/**
 * Why a node's container ended, as far as its log shows. A process can only be waited for by its parent, and a killed
 * one logs nothing. So the agent logs a closing line, and the container's init one about the agent; if both are
 * missing, the agent was killed. Lines before the last start belong to earlier runs and are ignored.
 */
import { open } from 'node:fs/promises';
import type { Advice } from '../../../shared/advice/advice.js';
import { STARTING_FIELD, type AgentEnding } from '../../../shared/agent-ending.js';
import { KIB } from '../../../shared/limits.js';
import { plainText } from '../../../shared/plain-text.js';
import type { LogPlace, LogWriters } from '../../log/port.js';

export interface Ending {
  /** For people; without a full stop. */
  readonly text: string;
  /** Killed by a signal it could not handle (SIGKILL or OOM). */
  readonly wasKilled: boolean;
}

/** Far longer than a closing line with its stack. */
const TAIL_BYTES = 64 * KIB;

/** Returns the log line that begins a run of the node. */
export function startLine(atMs: number): string {
  const head = { level: 30, time: new Date(atMs).toISOString(), pid: process.pid, name: 'controller' };
  const line = { ...head, [STARTING_FIELD]: true, msg: 'the node is starting' };
  return `${JSON.stringify(line)}\n`;
}

/** Call after the container has ended: waits until the log is complete. */
export async function howItEnded(logs: Pick<LogWriters, 'settle'>, place: LogPlace): Promise<Ending> {
  await logs.settle(place);
  return endingOf(await readTail(place.path));
}

/** Pure; `log` may begin in the middle of a line. */
export function endingOf(log: string): Ending {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  const run = lines.slice(lines.findLastIndex((line) => fieldsOf(line)[STARTING_FIELD] === true) + 1);
  const closing = run.map(fieldsOf).findLast((fields) => fields['ending'] !== undefined);
  if (closing !== undefined) return ofClosingLine(closing['ending'] as AgentEnding, String(closing['msg']));
  const notRun = run.map((line) => NOT_RUN_LINE.exec(line)?.[1]).findLast((reason) => reason !== undefined);
  if (notRun !== undefined) return { text: `its agent cannot be run: ${plainText(notRun)}`, wasKilled: false };
  const init = run.map(ofInitLine).findLast((ending) => ending !== undefined);
  if (init !== undefined) return init;
  return ofLastWords(run);
}

const ofClosingLine = (ending: AgentEnding, message: string): Ending =>
  ending === 'asked'
    ? { text: 'its agent was asked to end by a signal that Nexus did not send', wasKilled: false }
    : { text: plainText(message), wasKilled: false };

/** The last line of node-init.c, and that of tini, under which an earlier version started agents. */
const INIT_LINES = [
  /^node-init: the program (?:ended with exit status (\d+)|was ended by signal \d+ \((.+)\))$/,
  /^\[INFO +tini \(\d+\)\] Main child exited (?:normally \(with status '(\d+)'\)|with signal \(with signal '(.+)'\))/,
];

/** Of node-init.c, before its last line, which then tells of its own child. */
const NOT_RUN_LINE = /^node-init: \S+ cannot be run: (.+)$/;

function ofInitLine(line: string): Ending | undefined {
  const [, status, signal] = INIT_LINES.map((known) => known.exec(line)).find((found) => found !== null) ?? [];
  if (signal !== undefined)
    return { text: `its agent was ended by a signal: ${signal}`, wasKilled: signal === 'Killed' };
  if (status === undefined) return undefined;
  return { text: `its agent ended with exit code ${status} without a reason in its log`, wasKilled: false };
}

const STAGE = /^first-stage: /;
const LOST_VOLUME = /^the volume(?:'s file system is damaged| has no ext4 file system)/;

/** Advice for a node that ended while it started if its volume can't be mounted: starting again does not help then. Pure. */
export const startAdvice = (text: string, node: string, image: string): Advice[] =>
  LOST_VOLUME.test(text) ? [{ key: 'give-up-volume', node, image }] : [];

/** Finds the last text that is not the agent's own log: from the first stage, or from Node.js when it crashes. */
function ofLastWords(run: readonly string[]): Ending {
  const lastOfAgent = run.findLastIndex((line) => fieldsOf(line)['name'] === 'agent');
  // Skip a truncated line of the agent's log: half of its JSON explains nothing.
  const words = run.slice(lastOfAgent + 1).filter((line) => !line.startsWith('[INFO  tini') && !line.startsWith('{'));
  const said = words.findLast((line) => /^(\w*Error|FATAL ERROR)\b/.test(line)) ?? words.at(-1);
  if (said !== undefined) return { text: plainText(said.replace(STAGE, '')), wasKilled: false };
  return { text: 'it was killed before its agent could log a reason', wasKilled: true };
}

function fieldsOf(line: string): Readonly<Record<string, unknown>> {
  if (!line.startsWith('{')) return {};
  try {
    const fields: unknown = JSON.parse(line);
    return typeof fields === 'object' && fields !== null ? (fields as Record<string, unknown>) : {};
  } catch {
    // Truncated by a kill, or by the bound on what is read.
    return {};
  }
}

async function readTail(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return '';
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, from);
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await file.close().catch(() => undefined);
  }
}
