/**
 * Everything Nexus creates on a host is named from one instance name, so that two instances (a person's and a
 * test's) never touch each other. The default instance has the documented, plain names.
 */
import { createHash } from 'node:crypto';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

export const DEFAULT_INSTANCE = 'nexus';

/** In the state folder: what a controller that was started in the background says. */
export const CONTROLLER_LOG = 'controller.log';

/** At most 8 characters: an interface name holds 15, and a veth is called `nx-<instance>-<slot>`. */
export const INSTANCE_PATTERN = /^[a-z][a-z0-9]{0,7}$/;

export type RuntimeKind = 'runc' | 'process';

export interface InstanceDefaults {
  readonly stateDir: string;
  readonly runDir: string;
  readonly socket: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly cgroupParent: string;
  /** First loop device number; node slot n uses base + n. */
  readonly loopBase: number;
}

/** What follows from the name alone. `uid` 0 has system folders, anyone else their own. */
export function instanceDefaults(instance: string, runtime: RuntimeKind, uid: number): InstanceDefaults {
  const isDefault = instance === DEFAULT_INSTANCE;
  const suffix = isDefault ? '' : `-${instance}`;
  // A stable number in 0..179 spreads other instances over subnets and loop numbers.
  const spread = createHash('sha256').update(instance).digest().readUInt16BE(0) % 180;
  const third = isDefault ? 42 : 64 + spread;
  const folders = uid === 0 ? systemFolders(suffix) : userFolders(suffix, uid);
  return {
    ...folders,
    bridge: isDefault ? 'nexus0' : `nx-${instance}`,
    subnet: runtime === 'process' ? `127.42.${third}.0/24` : `10.0.${third}.0/24`,
    cgroupParent: `/nexus${suffix}`,
    loopBase: isDefault ? 100 : 1024 + spread * 256,
  };
}

type Folders = Pick<InstanceDefaults, 'stateDir' | 'runDir' | 'socket'>;

const systemFolders = (suffix: string): Folders => ({
  stateDir: `/var/lib/nexus${suffix}`,
  runDir: `/run/nexus${suffix}`,
  socket: `/var/run/nexus${suffix}.sock`,
});

function userFolders(suffix: string, uid: number): Folders {
  const runDir = join(process.env['XDG_RUNTIME_DIR'] ?? join(tmpdir(), `nexus-${uid}`), `nexus${suffix}`);
  return {
    stateDir: join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), `nexus${suffix}`),
    runDir,
    socket: join(runDir, 'nexus.sock'),
  };
}
