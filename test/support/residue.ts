/** What a test must not leave on the host: everything that can be named after an instance, before and after. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { instanceDefaults } from '../../shared/config/instance.js';

/** Lines that describe each object of the instance on the host; empty when nothing is left. */
export function residueOf(instance: string): string[] {
  return [
    ...links(instance),
    ...cgroups(`nexus-${instance}`),
    ...mounts(instance),
    ...folders(instance),
    ...processes(instance),
    ...loopDevices(instance),
  ];
}

/** Loop devices in the instance's own range of numbers: attached ones, and device nodes without a file. */
function loopDevices(instance: string): string[] {
  const { loopBase } = instanceDefaults(instance, 'runc', 0);
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .filter((name) => {
      const number = Number(name.slice('loop'.length));
      return number >= loopBase && number < loopBase + SLOTS;
    })
    .map((name) => `loop device ${name}${existsSync(`/sys/block/${name}/loop/backing_file`) ? ' (attached)' : ''}`);
}

const SLOTS = 256;

const links = (instance: string): string[] =>
  readdirSync('/sys/class/net')
    .filter((name) => name === `nx-${instance}` || name.startsWith(`nx-${instance}-`))
    .map((name) => `link ${name}`);

function cgroups(name: string): string[] {
  const root = '/sys/fs/cgroup';
  const roots = [root, ...readdirSync(root).map((hierarchy) => join(root, hierarchy))];
  return roots
    .map((folder) => join(folder, name))
    .filter((path) => existsSync(path))
    .map((path) => `cgroup ${path}`);
}

const mounts = (instance: string): string[] =>
  readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`/nexus-${instance}`))
    .map((line) => `mount ${line}`);

const folders = (instance: string): string[] =>
  [`/var/lib/nexus-${instance}`, `/run/nexus-${instance}`, `/var/run/nexus-${instance}.sock`]
    .filter((path) => existsSync(path))
    .map((path) => `file ${path}`);

function processes(instance: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid, command: commandLine(pid) }))
    .filter(({ pid, command }) => Number(pid) !== process.pid && command.includes(`nexus-${instance}`))
    .map(({ pid, command }) => `process ${pid} ${command.slice(0, 120)}`);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
