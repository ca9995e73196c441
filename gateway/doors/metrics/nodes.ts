/** Series of nodes: their states, and what running ones use. The series of a removed node disappear. */
import type { NodeMetrics, ObservedNode } from '../../../shared/gen/nexus/v1/metrics.js';
import { VOLUME_STATES } from '../../../shared/volume-state.js';
import { familyText, type Sample } from './text.js';

/** States in the life of a node; each has a value per node, 0 or 1, as in Prometheus' state sets. */
const STATES = ['Creating', 'Running', 'Suspect', 'Lost', 'Stopping', 'Stopped', 'Removing', 'Failed'] as const;

interface Figure {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly of: (metrics: NodeMetrics) => number | bigint;
}

const gauge = (name: string, help: string, of: Figure['of']): Figure => ({ name, type: 'gauge', help, of });
const counter = (name: string, help: string, of: Figure['of']): Figure => ({ name, type: 'counter', help, of });

/** Figures that agents report every five seconds. */
const FIGURES: readonly Figure[] = [
  gauge('report_timestamp_seconds', 'When the agent took these figures.', ({ at }) => Date.parse(at) / 1000),
  counter('cpu_seconds_total', 'CPU time of all processes of the node.', ({ cpuSeconds }) => cpuSeconds),
  gauge('memory_usage_bytes', 'Memory of all processes, page cache included.', ({ memoryUsage }) => memoryUsage),
  gauge(
    'memory_working_set_bytes',
    'Memory without the page cache that can be dropped.',
    ({ memoryWorkingSet }) => memoryWorkingSet,
  ),
  gauge('memory_limit_bytes', 'Memory limit; 0: none.', ({ memoryLimit }) => memoryLimit),
  gauge('pids', 'Processes and threads.', ({ pids }) => pids),
  gauge('volume_size_bytes', 'Size of the volume.', ({ volumeTotal }) => volumeTotal),
  gauge('volume_used_bytes', 'Bytes in use on the volume.', ({ volumeUsed }) => volumeUsed),
  gauge('volume_free_bytes', 'Bytes that can still be written to it.', ({ volumeFree }) => volumeFree),
  gauge('volume_inodes', 'Inodes of the volume; 0: they are not counted.', ({ volumeInodes }) => volumeInodes),
  gauge('volume_free_inodes', 'Inodes that can still be used.', ({ volumeFreeInodes }) => volumeFreeInodes),
  counter('network_receive_bytes_total', 'Bytes received.', ({ networkRx }) => networkRx),
  counter('network_transmit_bytes_total', 'Bytes sent.', ({ networkTx }) => networkTx),
  gauge('chunks', 'Chunks stored.', ({ chunks }) => chunks),
  gauge('chunk_bytes', 'Bytes in these chunks.', ({ chunkBytes }) => chunkBytes),
  counter('chunk_reads_total', 'Chunks read since the agent started.', ({ chunkReads }) => chunkReads),
  counter('chunk_writes_total', 'Chunks written since the agent started.', ({ chunkWrites }) => chunkWrites),
  counter(
    'chunk_checksum_failures_total',
    'Chunks whose content was not what it should be.',
    ({ checksumFailures }) => checksumFailures,
  ),
];

export function nodesText(nodes: readonly ObservedNode[]): string {
  const states = STATES.map((state) => ({
    labels: { state },
    value: nodes.filter(({ status }) => status === state).length,
  }));
  const each = (value: (node: ObservedNode) => number): Sample[] =>
    nodes.map((node) => ({ labels: { node: node.name }, value: value(node) }));
  const stateOfEach = nodes.flatMap(({ name, status }) =>
    STATES.map((state) => ({ labels: { node: name, state }, value: status === state ? 1 : 0 })),
  );
  const volumes = nodes
    .filter(({ volumeState }) => volumeState !== '')
    .flatMap(({ name, volumeState }) =>
      VOLUME_STATES.map((state) => ({ labels: { node: name, state }, value: volumeState === state ? 1 : 0 })),
    );
  return [
    familyText('nexus_nodes', 'gauge', 'Nodes by state.', states),
    familyText('nexus_node_state', 'gauge', '1 for the state that the node is in, 0 for the others.', stateOfEach),
    familyText(
      'nexus_node_schedulable',
      'gauge',
      'Whether the node takes new data.',
      each(({ schedulable }) => Number(schedulable)),
    ),
    familyText(
      'nexus_node_volume_state',
      'gauge',
      '1 for the state that the node’s agent finds its volume in, 0 for the others.',
      volumes,
    ),
    familyText(
      'nexus_node_rejected_messages_total',
      'counter',
      'Messages and answers of the node’s agent that the controller rejected because they could not be true.',
      each(({ rejectedMessages }) => Number(rejectedMessages)),
    ),
    ...FIGURES.map(({ name, type, help, of }) => familyText(`nexus_node_${name}`, type, help, reported(nodes, of))),
  ].join('');
}

const reported = (nodes: readonly ObservedNode[], of: Figure['of']): Sample[] =>
  nodes.flatMap(({ name, metrics }) =>
    metrics === undefined ? [] : [{ labels: { node: name }, value: Number(of(metrics)) }],
  );
