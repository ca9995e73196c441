/** Runs node-stage.c, which puts a node's file system together between the creation of its container and its start. */
import { writeSync } from 'node:fs';
import type { Advice } from '../../../shared/advice/advice.js';
import { NexusError } from '../../../shared/errors.js';
import { tryCommand } from '../../../shared/exec.js';
import { plainText } from '../../../shared/plain-text.js';
import type { ContainerSpec, ProcessIdentity } from '../runtime.js';
import { memoryShares, PAGE_BYTES } from './memory-shares.js';
import { deviceOf } from '../volumes.js';

/** For e2fsck on a large volume that was not unmounted, and for taking over millions of files of version 0.1. */
const STAGE_TIMEOUT_MS = 600_000;
const MOST_SAID = 8192;
const PREFIX = /^first-stage: /;

/** Exit codes for a volume that starting again does not mend; see node-stage.c. */
const LOST_VOLUME = [71, 72];
/** For a volume that could not be checked, which tells nothing about it. */
const NOT_CHECKED = 78;
/** Exit code of a start that failed while the host's disk was full: the node starts once it has room again. */
const DISK_FULL = 79;

/**
 * Codes: failed_precondition with the program's last words, resource_exhausted on a full disk, deadline_exceeded, cancelled. Its words go to the node's log,
 * too.
 */
export async function assembleNode(
  program: string,
  spec: ContainerSpec,
  { pid, startTicks }: ProcessIdentity,
  signal: AbortSignal,
): Promise<void> {
  const { volumeUuid, agentUid, limits, rootfs, volumePath, configDir } = spec;
  const sharedPages = memoryShares(limits.memoryBytes).segmentsBytes / PAGE_BYTES;
  const args = [
    process.pid,
    pid,
    startTicks,
    deviceOf(spec),
    volumeUuid,
    agentUid,
    sharedPages,
    rootfs,
    volumePath,
    configDir,
  ].map(String);
  const { exitCode, stderr } = await tryCommand(program, args, {
    timeoutMs: STAGE_TIMEOUT_MS,
    signal,
    maxOutputBytes: MOST_SAID,
  });
  tell(spec.output, stderr);
  if (exitCode === 0) return;
  const said = stderr.trim().split('\n').at(-1)?.replace(PREFIX, '') ?? '';
  const reason = said === '' ? `node-stage ended with exit code ${exitCode}` : plainText(said);
  const advice = adviceFor(exitCode, spec);
  const code = exitCode === DISK_FULL ? 'resource_exhausted' : 'failed_precondition';
  throw new NexusError(code, `the node ended while it started: ${reason}`, {}, { advice });
}

function adviceFor(exitCode: number, { hostname: node, volumePath: image }: ContainerSpec): Advice[] {
  if (LOST_VOLUME.includes(exitCode)) return [{ key: 'give-up-volume', node, image }];
  return exitCode === NOT_CHECKED ? [{ key: 'start-failed-node', node }, { key: 'see-doctor' }] : [];
}

function tell(output: ContainerSpec['output'], words: string): void {
  if (words === '') return;
  if (typeof output === 'number') writeSync(output, words);
  else output.write(words);
}
