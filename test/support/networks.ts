/** Each implementation of the network, prepared; and nodes without anything but a network namespace to put on it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { BridgeNetwork } from '../../controller/hosting/contained/bridge.js';
import { FakeNetwork } from '../fakes/network.js';
import { parseSubnet, type Subnet } from '../../controller/hosting/subnet.js';
import { LoopbackNetwork } from '../../controller/hosting/process/loopback.js';
import type { NetworkFabric } from '../../controller/hosting/network.js';
import { instanceDefaults } from '../../shared/config/instance.js';
import { runCommand, tryCommand } from '../../shared/exec.js';
import { eventually } from './cluster.js';
import { residueOf, testInstance } from './residue.js';

export interface OpenedNetwork {
  readonly network: NetworkFabric;
  readonly subnet: Subnet;
  readonly instance: string;
  /** Pid of a process in a network namespace of its own; the test's own where there are none. */
  newNode(): Promise<number>;
  /** Whether a node's address answers the host. */
  reaches(ip: string): Promise<boolean>;
  /** Whether `address` answers the node behind `pid`. */
  reachesFrom(pid: number, address: string): Promise<boolean>;
  /** Breaks what the nodes share, in each way that there is; in memory and on loopback there is one, or none. */
  readonly ruin: readonly (() => Promise<unknown>)[];
  /** Cuts the link of a slot, in each way that there is; none without links. */
  readonly cut: readonly ((slot: number) => Promise<unknown>)[];
  /** Another instance's network with the same addresses. Without links two may share them. */
  readonly rival: NetworkFabric;
  /** The same network with its nodes isolated; undefined where that cannot be. */
  readonly isolated?: NetworkFabric;
  dispose(): Promise<string[]>;
}

export interface NetworkVariant {
  readonly name: string;
  readonly needsRoot: boolean;
  /** Nodes have links that can be listed and cut. */
  readonly hasLinks: boolean;
  open(): Promise<OpenedNetwork>;
}

const subnetOf = (instance: string, runtime: 'runc' | 'process'): Subnet =>
  parseSubnet(instanceDefaults(instance, runtime, 0).subnet);

const inMemory: NetworkVariant = {
  name: 'in memory',
  needsRoot: false,
  hasLinks: true,
  open: async () => {
    const instance = testInstance();
    const subnet = subnetOf(instance, 'runc');
    const network = new FakeNetwork(subnet.hostAddress);
    const rival = new FakeNetwork(subnet.hostAddress);
    rival.subnetIsTaken = true;
    let lastPid = 0;
    const links = (): { readonly ip: string; readonly pid: number }[] => [...network.links.values()];
    return {
      network,
      instance,
      subnet,
      rival,
      ruin: [
        async () => {
          network.isPrepared = false;
        },
      ],
      cut: [async (slot) => network.links.delete(slot)],
      newNode: async () => (lastPid += 1),
      reaches: async (ip) => links().some((link) => link.ip === ip),
      reachesFrom: async (pid, address) =>
        links().some((link) => link.pid === pid) &&
        (address === network.hostAddress || links().some((link) => link.ip === address)),
      dispose: async () => {
        await network.destroy();
        return [...network.links.keys()].map(String);
      },
    };
  },
};

const loopback: NetworkVariant = {
  name: 'loopback',
  needsRoot: false,
  hasLinks: false,
  open: async () => {
    const instance = testInstance();
    const subnet = subnetOf(instance, 'process');
    const network = new LoopbackNetwork(subnet);
    return {
      network,
      instance,
      subnet,
      rival: new LoopbackNetwork(subnet),
      ruin: [],
      cut: [],
      newNode: async () => process.pid,
      reaches: answers,
      reachesFrom: (_pid, address) => answers(address),
      dispose: async () => {
        await network.destroy();
        return [];
      },
    };
  },
};

/** Port of the bus, which the bridge bounds. */
export const BUS_PORT = 4222;
/** The one that isolated nodes reach of each other. */
export const DATA_PORT = 7400;

const bridge: NetworkVariant = {
  name: 'bridge',
  needsRoot: true,
  hasLinks: true,
  open: async () => {
    const instance = testInstance();
    const subnet = subnetOf(instance, 'runc');
    const options = {
      instance,
      bridge: `nx-${instance}`,
      subnet,
      bus: { port: BUS_PORT, isHere: true },
      firewallEveryMs: 0,
    };
    const network = new BridgeNetwork(options);
    const other = testInstance();
    const nodes: ChildProcess[] = [];
    const ip = (...args: string[]) => runCommand('ip', args);
    const name = `nx-${instance}`;
    return {
      network,
      instance,
      subnet,
      isolated: new BridgeNetwork({ ...options, onlyPort: DATA_PORT }),
      rival: new BridgeNetwork({
        instance: other,
        bridge: `nx-${other}`,
        subnet,
        bus: { port: BUS_PORT, isHere: false },
      }),
      ruin: [
        () => ip('link', 'delete', 'dev', name),
        () => ip('link', 'set', 'dev', name, 'down'),
        () => ip('address', 'flush', 'dev', name),
        () => runCommand('nft', ['delete', 'table', 'inet', `nexus-${instance}`]),
        () => runCommand('nft', ['delete', 'table', 'bridge', `nexus-${instance}`]),
      ],
      cut: [
        (slot) => ip('link', 'set', 'dev', `${name}-${slot}`, 'nomaster'),
        (slot) => ip('link', 'delete', 'dev', `${name}-${slot}`),
        (slot) => ip('link', 'set', 'dev', `${name}-${slot}`, 'down'),
        (slot) =>
          runCommand('nsenter', [`--net=/proc/${nodes[slot]?.pid ?? 0}/ns/net`, 'ip', 'link', 'set', 'eth0', 'down']),
      ],
      newNode: async () => {
        const node = await namespaceHolder();
        nodes.push(node);
        return node.pid ?? 0;
      },
      reaches: answers,
      reachesFrom: answersFrom,
      dispose: async () => {
        await Promise.all(nodes.map(end));
        await network.destroy();
        return [...residueOf(instance), ...residueOf(other)];
      },
    };
  },
};

async function namespaceHolder(): Promise<ChildProcess> {
  const child = spawn('unshare', ['--net', 'sleep', '300'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const ours = readlinkSync('/proc/self/ns/net');
  await eventually(
    () => readlinkSync(`/proc/${child.pid ?? 0}/ns/net`),
    (theirs) => theirs !== ours,
  );
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Nobody listens there: an address that is on the network refuses at once, any other says nothing. */
const UNUSED_PORT = 9;
const PATIENCE_MS = 5000;

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port: UNUSED_PORT });
    const timer = setTimeout(() => socket.destroy(new Error('silent')), PATIENCE_MS);
    socket.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve(error.code === 'ECONNREFUSED');
    });
  });
}

async function answersFrom(pid: number, address: string): Promise<boolean> {
  const script = `echo > /dev/tcp/${address}/${UNUSED_PORT}`;
  const args = [`--net=/proc/${pid}/ns/net`, 'timeout', String(PATIENCE_MS / 1000), 'bash', '-c', script];
  const { stderr } = await tryCommand('nsenter', args, { env: { ...process.env, LC_ALL: 'C' } });
  return stderr.includes('Connection refused');
}

export const NETWORKS: readonly NetworkVariant[] = [inMemory, loopback, bridge];
