/** Series of nodes: their states, and what running ones use. The series of a removed node disappear. */
import type { NodeMetrics, ObservedNode } from '../../../shared/gen/nexus/v1/metrics.js';
import { nodeFields, type NodeField } from '../../../shared/metrics/node-fields.js';
import { VOLUME_STATES } from '../../../shared/volume-state.js';
import { familyText, type Sample } from './text.js';

/** States in the life of a node; each has a value per node, 0 or 1, as in Prometheus' state sets. */
const STATES = ['Creating', 'Running', 'Suspect', 'Lost', 'Stopping', 'Stopped', 'Removing', 'Failed'] as const;

interface Figure extends Pick<NodeField, 'name' | 'kind' | 'help'> {
  readonly of: (metrics: NodeMetrics) => number;
}

/** When the figures were taken, and the figures that agents report every five seconds. */
const FIGURES: readonly Figure[] = [
  {
    name: 'report_timestamp_seconds',
    kind: 'gauge',
    help: 'When the agent took these figures.',
    of: ({ at }) => Date.parse(at) / 1000,
  },
  ...nodeFields()
    .filter(({ family }) => family === undefined)
    .map(({ name, kind, help, message }) => ({
      name,
      kind,
      help,
      of: (metrics: NodeMetrics) => Number(metrics[message]),
    })),
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
    ...FIGURES.map(({ name, kind, help, of }) => familyText(`nexus_node_${name}`, kind, help, reported(nodes, of))),
  ].join('');
}

const reported = (nodes: readonly ObservedNode[], of: Figure['of']): Sample[] =>
  nodes.flatMap(({ name, metrics }) => (metrics === undefined ? [] : [{ labels: { node: name }, value: of(metrics) }]));
