/**
 * Checks messages of agents before they are used. Root in a node can read its agent's credentials, so a message proves
 * only who may have sent it: its numbers, times and texts may be anything. Pure.
 */
import type { AgentHeartbeat, AgentReport } from '../../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../../shared/ids.js';
import { HEARTBEAT_INTERVAL_MS, SLOWEST_HEARTBEAT_MS } from '../../../shared/limits.js';
import { plainText } from '../../../shared/plain-text.js';

/** Reason for rejecting a message, for people. */
export type Fault = string;

export type Checked<Message> =
  { readonly message: Message; readonly fault: undefined } | { readonly message: undefined; readonly fault: Fault };

/** More than any counter or disk will have; beyond it numbers lose their last digits. */
const MOST = BigInt(Number.MAX_SAFE_INTEGER);
/** Maximum by which the clock of another machine may be ahead. */
const CLOCK_SKEW_MS = 60_000;
const RECEIPT_KEY_BYTES = 32;
const MOST_WORD_CHARACTERS = 64;

export function checkReport(report: AgentReport, nowMs: number): Checked<AgentReport> {
  const fault = faultOfReport(report, nowMs);
  if (fault !== undefined) return { message: undefined, fault };
  return { message: { ...report, volumeReason: plainText(report.volumeReason) }, fault: undefined };
}

/** Drops a faulty report but keeps its heartbeat: it still proves that the agent lives. */
export function checkHeartbeat(node: NodeId, heartbeat: AgentHeartbeat, nowMs: number): Checked<AgentHeartbeat> {
  const fault = faultOfHeartbeat(node, heartbeat, nowMs);
  return fault === undefined ? { message: heartbeat, fault } : { message: undefined, fault };
}

function faultOfHeartbeat(node: NodeId, heartbeat: AgentHeartbeat, nowMs: number): Fault | undefined {
  if (heartbeat.nodeId !== node)
    return `it reports the id of another node: ${plainText(heartbeat.nodeId, MOST_WORD_CHARACTERS)}`;
  if (!isWord(heartbeat.agentInstance) || !isWord(heartbeat.version)) return 'its instance or version is malformed';
  const keyBytes = heartbeat.receiptPublicKey.length;
  if (keyBytes !== 0 && keyBytes !== RECEIPT_KEY_BYTES) return `its key for receipts has ${keyBytes} bytes`;
  const { intervalMs } = heartbeat;
  // A longer one would hide an agent's silence.
  if (intervalMs !== 0 && (intervalMs < HEARTBEAT_INTERVAL_MS || intervalMs > SLOWEST_HEARTBEAT_MS))
    return `it says that its heartbeats are ${intervalMs} ms apart`;
  return isFuture(heartbeat.startedAtMs, nowMs) ? 'its start time lies in the future' : undefined;
}

function faultOfReport(report: AgentReport, nowMs: number): Fault | undefined {
  for (const [name, value] of Object.entries(report)) {
    if (typeof value === 'bigint' && value > MOST) return `${name} is ${value}, more than there can be`;
  }
  if (isFuture(report.atMs, nowMs)) return 'its time lies in the future';
  if (report.volumeFreeBytes > report.volumeTotalBytes) return 'more of its volume is free than there is';
  if (report.volumeUsedBytes > report.volumeTotalBytes) return 'more of its volume is used than there is';
  if (report.volumeFreeInodes > report.volumeInodes) return 'more inodes of its volume are free than there are';
  return isWord(report.volumeState) ? undefined : 'the state of its volume is malformed';
}

const isFuture = (atMs: bigint, nowMs: number): boolean => atMs > BigInt(Math.ceil(nowMs)) + BigInt(CLOCK_SKEW_MS);

const isWord = (text: string): boolean => text.length <= MOST_WORD_CHARACTERS && /^[\x20-\x7e]*$/.test(text);
