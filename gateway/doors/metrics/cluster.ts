/**
 * The controller's figures as Prometheus series: cluster, storage, repair, lambda, gRPC. Base units; counters restart
 * at 0 with the controller. The series of nodes are in nodes.ts.
 */
import type { CallMetrics, GetClusterMetricsResponse, HostDisk } from '../../../shared/gen/nexus/v1/metrics.js';
import { nodesText } from './nodes.js';
import { familyText, histogramText, type Labels, type Sample } from './text.js';

type Figures = GetClusterMetricsResponse;

/** Undefined: the controller did not answer, so nothing else is known. */
export function clusterText(figures: Figures | undefined): string {
  const up = familyText('nexus_up', 'gauge', 'Whether the controller answered this scrape.', [
    { labels: {}, value: figures === undefined ? 0 : 1 },
  ]);
  if (figures === undefined) return up;
  return [
    up,
    gauge(
      'nexus_bus_up',
      'Whether messages pass through the bus between controller and agents.',
      Number(figures.busUp),
    ),
    gauge('nexus_bridge_up', 'Whether the network that the nodes share is whole.', Number(figures.networkUp)),
    controllerText(figures),
    nodesText(figures.nodes),
    storageText(figures),
    repairText(figures),
    lambdaText(figures),
    callsText(figures.calls),
    hostText(figures),
    mailText(figures),
  ].join('');
}

/** Dropped log lines of all processes in one family; the gateway passes its own count. */
export function logText(figures: Figures | undefined, ofGateway: number): string {
  const ofNodes = (figures?.nodes ?? []).map(({ name, metrics }) => ({
    labels: { process: 'agent', node: name },
    value: Number(metrics?.logLinesDropped ?? 0n),
  }));
  return familyText('nexus_log_lines_dropped_total', 'counter', 'Lines of a log that could not be written.', [
    ...one(ofGateway, { process: 'gateway' }),
    ...one(figures?.controller?.logLinesDropped, { process: 'controller' }),
    ...ofNodes,
  ]);
}

const one = (value: number | bigint | undefined, labels: Labels = {}): Sample[] =>
  value === undefined ? [] : [{ labels, value: Number(value) }];
const gauge = (name: string, help: string, value: number | bigint | undefined): string =>
  familyText(name, 'gauge', help, one(value));
const counter = (name: string, help: string, value: number | bigint | undefined): string =>
  familyText(name, 'counter', help, one(value));
const by = (label: string, counts: Readonly<Record<string, bigint>> | undefined): Sample[] =>
  Object.entries(counts ?? {}).map(([name, count]) => ({ labels: { [label]: name }, value: Number(count) }));

function controllerText({ controller }: Figures): string {
  const { instance = '', version = '', runtime = '' } = controller ?? {};
  return [
    familyText(
      'nexus_build_info',
      'gauge',
      'Always 1; what runs is in the labels.',
      one(1, { cluster: instance, version, runtime }),
    ),
    gauge('nexus_controller_start_time_seconds', 'When the controller started.', controller?.startedAtSeconds),
    counter('nexus_controller_cpu_seconds_total', 'CPU time of the controller.', controller?.cpuSeconds),
    gauge('nexus_controller_resident_memory_bytes', 'Resident memory of the controller.', controller?.residentBytes),
  ].join('');
}

function storageText({ storage, copies, repair }: Figures): string {
  // States without copies have the value 0: an absent series can't be compared with.
  const all = { writing: 0n, ready: 0n, missing: 0n, corrupt: 0n, deleting: 0n, ...copies };
  return [
    gauge('nexus_storage_files', 'Files that are stored.', storage?.files),
    gauge('nexus_storage_file_bytes', 'Bytes in these files, copies not counted.', storage?.bytes),
    gauge('nexus_storage_chunks', 'Chunks of these files, copies not counted.', storage?.chunks),
    familyText('nexus_storage_copies', 'gauge', 'Copies of chunks on nodes, by state.', by('state', all)),
    gauge(
      'nexus_storage_under_replicated_chunks',
      'Chunks with fewer whole copies than their file should have.',
      storage?.underReplicated,
    ),
    familyText(
      'nexus_storage_files_in_trouble',
      'gauge',
      'Files that cannot be read whole now, by status.',
      by('status', {
        unavailable: storage?.unavailableFiles ?? 0n,
        damaged: storage?.damagedFiles ?? 0n,
        lost: storage?.lostFiles ?? 0n,
      }),
    ),
    gauge('nexus_storage_orphan_chunks', 'Chunks on nodes that belong to no file.', repair?.orphanChunks),
    gauge('nexus_storage_capacity_bytes', 'Size of the volumes of all nodes that are up.', storage?.capacityBytes),
    gauge('nexus_storage_free_bytes', 'Bytes that can still be written to them.', storage?.freeBytes),
  ].join('');
}

function repairText({ repair, upkeep }: Figures): string {
  return [
    gauge(
      'nexus_repair_lacking_chunks',
      'Chunks with fewer whole copies than they should have; copies on nodes that are stopped on purpose count.',
      repair?.lackingChunks,
    ),
    gauge('nexus_repair_endangered_chunks', 'Of these, with one copy left.', repair?.endangeredChunks),
    gauge('nexus_repair_lost_chunks', 'Chunks without a whole copy that can be read now.', repair?.lostChunks),
    gauge('nexus_repair_backlog_bytes', 'Bytes still to be copied.', repair?.remainingBytes),
    gauge('nexus_repair_running_copies', 'Copies being made.', repair?.running),
    counter('nexus_repair_copied_chunks_total', 'Chunks copied from node to node.', upkeep?.copiedChunks),
    counter('nexus_repair_copied_bytes_total', 'Bytes copied from node to node.', upkeep?.copiedBytes),
    gauge('nexus_scrub_running_nodes', 'Nodes that read their copies back.', repair?.scrubbingNodes),
    counter('nexus_scrub_read_bytes_total', 'Bytes read back.', upkeep?.scrubbedBytes),
    counter('nexus_scrub_finds_total', 'Copies found damaged or missing when read back.', upkeep?.scrubFinds),
  ].join('');
}

function lambdaText({ lambda }: Figures): string {
  const latency = { labels: {}, buckets: lambda?.latency ?? [], sum: lambda?.latencySumSeconds ?? 0 };
  return [
    familyText(
      'nexus_lambda_invocations_total',
      'counter',
      'Invocations that have ended, by why.',
      by('reason', lambda?.invocations),
    ),
    counter('nexus_lambda_refused_total', 'Invocations that got no place.', lambda?.refused),
    histogramText('nexus_lambda_duration_seconds', 'Time from a request to its result, waiting included.', [latency]),
    gauge('nexus_lambda_running', 'Invocations that run.', lambda?.running),
    gauge('nexus_lambda_queue_length', 'Invocations that wait for a place.', lambda?.queueLength),
    gauge('nexus_lambda_pool_ready', 'Prewarmed sandboxes.', lambda?.poolReady),
    gauge('nexus_lambda_pool_target', 'Prewarmed sandboxes that there should be.', lambda?.poolTarget),
    counter('nexus_lambda_pool_hits_total', 'Invocations that found a prewarmed sandbox.', lambda?.poolHits),
    counter('nexus_lambda_pool_misses_total', 'Invocations that had to wait for a sandbox.', lambda?.poolMisses),
  ].join('');
}

function hostText({ hostDisks }: Figures): string {
  const each = (value: (disk: HostDisk) => bigint): Sample[] =>
    hostDisks.flatMap((disk) => disk.places.map((place) => ({ labels: { place }, value: Number(value(disk)) })));
  const limited = hostDisks.some((disk) => disk.totalInodes > 0n);
  return [
    familyText(
      'nexus_host_disk_bytes',
      'gauge',
      "Size of the host's file system under what Nexus writes; places may share one.",
      each((disk) => disk.totalBytes),
    ),
    familyText(
      'nexus_host_disk_free_bytes',
      'gauge',
      'Free bytes of it.',
      each((disk) => disk.freeBytes),
    ),
    limited
      ? familyText(
          'nexus_host_disk_free_inodes',
          'gauge',
          'Free inodes of it.',
          each((disk) => disk.freeInodes),
        )
      : '',
  ].join('');
}

function mailText({ mail }: Figures): string {
  return [
    counter('nexus_mail_sent_total', 'Mails that a mail server, or the outbox, has taken.', mail?.sent),
    counter('nexus_mail_failed_total', 'Mails that could not be sent.', mail?.failed),
    gauge('nexus_mail_queue_length', 'Mails that wait or are being sent.', mail?.queueLength),
  ].join('');
}

function callsText(calls: readonly CallMetrics[]): string {
  const counts = calls.flatMap(({ method, calls: byCode }) =>
    by('code', byCode).map(({ labels, value }) => ({ labels: { method, ...labels }, value })),
  );
  const latencies = calls.map(({ method, latency, latencySumSeconds }) => ({
    labels: { method },
    buckets: latency,
    sum: latencySumSeconds,
  }));
  return [
    familyText('nexus_grpc_calls_total', 'counter', 'gRPC calls of the controller that have ended, by code.', counts),
    histogramText(
      'nexus_grpc_call_duration_seconds',
      'Time of these calls; those that stream last until their end.',
      latencies,
    ),
  ].join('');
}
