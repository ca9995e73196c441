/** What a test must not leave on the host: everything that can be named after an instance, before and after. */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { instanceDefaults, type InstanceDefaults } from '../../shared/config/instance.js';

/** Loop devices of an instance. */
const SLOTS = 256;
/** Bound of the processes that run files of one test run side by side. */
const PROCESSES = 16;
/** Number of this process among them. */
const ownNumber = Number(process.env['MOCHA_WORKER_ID'] ?? 0) % PROCESSES;

/**
 * A name that nothing on the host has, short and random, so that a test run and a person's cluster never meet. Its range
 * of devices, addresses and ports is free, and one that no other process of this test run takes.
 */
export function testInstance(prefix = 'ct'): string {
  for (;;) {
    const instance = `${prefix}${randomInt(36 ** 4).toString(36)}`;
    const { loopBase } = instanceDefaults(instance, 'runc', 0);
    if ((loopBase / SLOTS) % PROCESSES === ownNumber && residueOf(instance).length === 0) return instance;
  }
}

/**
 * Lines that describe each object of the instance on the host; empty when nothing is left. The default instance's names
 * are the beginning of all others': it is looked at only where nothing else runs.
 */
export function residueOf(instance: string): string[] {
  const names = instanceDefaults(instance, 'runc', 0);
  return [
    ...links(instance, names),
    ...tables(instance),
    ...cgroups(basename(names.cgroupParent)),
    ...mounts(names),
    ...folders(names),
    ...idClaims(names),
    ...processes(instance, names),
    ...loopDevices(names),
  ];
}

/** Loop devices in the instance's own range of numbers: attached ones, and device nodes without a file. */
function loopDevices({ loopBase }: InstanceDefaults): string[] {
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .filter((name) => {
      const number = Number(name.slice('loop'.length));
      return number >= loopBase && number < loopBase + SLOTS;
    })
    .map((name) => `loop device ${name}${existsSync(`/sys/block/${name}/loop/backing_file`) ? ' (attached)' : ''}`);
}

const tables = (instance: string): string[] =>
  execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.endsWith(` nexus-${instance}`))
    .map((line) => `nftables ${line}`);

const links = (instance: string, { bridge }: InstanceDefaults): string[] =>
  readdirSync('/sys/class/net')
    .filter((name) => name === bridge || name.startsWith(`nx-${instance}-`))
    .map((name) => `link ${name}`);

function cgroups(name: string): string[] {
  const root = '/sys/fs/cgroup';
  const roots = [root, ...readdirSync(root).map((hierarchy) => join(root, hierarchy))];
  return roots
    .map((folder) => join(folder, name))
    .filter((path) => existsSync(path))
    .map((path) => `cgroup ${path}`);
}

/** Claims of ids point to the run folders of their nodes. */
function idClaims({ runDir }: InstanceDefaults): string[] {
  const folder = '/run/nexus.ids';
  return (existsSync(folder) ? readdirSync(folder) : [])
    .map((name) => join(folder, name))
    .filter((path) => targetOf(path).startsWith(`${runDir}/`))
    .map((path) => `claim of ids ${path}`);
}

function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // Released meanwhile, by another instance.
    return '';
  }
}

const mounts = ({ stateDir, runDir }: InstanceDefaults): string[] =>
  readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(stateDir) || line.includes(runDir))
    .map((line) => `mount ${line}`);

const folders = ({ stateDir, runDir, socket }: InstanceDefaults): string[] =>
  [stateDir, runDir, socket].filter((path) => existsSync(path)).map((path) => `file ${path}`);

function processes(instance: string, { stateDir, runDir }: InstanceDefaults): string[] {
  const marks = [`nexus-${instance}`, stateDir, runDir];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid, command: commandLine(pid) }))
    .filter(({ pid, command }) => Number(pid) !== process.pid && marks.some((mark) => command.includes(mark)))
    .map(({ pid, command }) => `process ${pid} ${command.slice(0, 120)}`);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
