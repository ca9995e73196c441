/**
 * Everything Nexus creates on a host is named from one instance name, so that two instances (a person's and a
 * test's) never touch each other. The default instance has the documented, plain names.
 */
import { traitsOf, type RuntimeName } from './runtimes.js';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

export const DEFAULT_INSTANCE = 'nexus';

/** In the state folder: the log of a controller that was started in the background. */
export const CONTROLLER_LOG = 'controller.log';

/** In the runtime folder: the log of a gateway that a controller started. */
export const GATEWAY_LOG = 'gateway.d/gateway.log';

/** In the state folder: locked by the controller for as long as it runs. */
export const LOCK_FILE = 'controller.lock';
/** In the field `note` of a starting controller's log: another controller holds the lock and does not serve. */
export const AWAITING_LOCK = 'awaiting-lock';
/** Likewise: it serves. */
export const CONTROLLER_UP = 'controller-up';

/** At most 8 characters: an interface name holds 15, and a veth is called `nx-<instance>-<slot>`. */
export const INSTANCE_PATTERN = /^[a-z][a-z0-9]{0,7}$/;

/**
 * Number of ranges of loop devices and addresses. Instances other than the default one are assigned a range by a hash
 * of their name: enough that two hardly ever collide, and as many as fit below the kernel's highest loop device.
 */
const RANGES = 4032;
const SUBNETS = 252;
/** A node's slot within its /24. */
const LOOP_DEVICES = 256;
const FIRST_LOOP_DEVICE = 1024;
/** Minor numbers have 20 bits. */
assert(FIRST_LOOP_DEVICE + RANGES * LOOP_DEVICES <= 2 ** 20, 'every range must be below the highest loop device');
/**
 * Gateway ports: the documented default, and the first of a range below the kernel's ephemeral ports (from 32768 on).
 */
const DEFAULT_GATEWAY_PORT = 8080;
const FIRST_GATEWAY_PORT = 18_080;
assert(FIRST_GATEWAY_PORT + RANGES <= 32_768, 'every range must have its port below the ephemeral ones');
assert(RANGES % SUBNETS === 0 && RANGES / SUBNETS <= 192, 'every range must be a subnet below 10.255 and 127.255');

/**
 * Host users that sandboxes run as. Kernel limits that are counted per user (pipes, watches, pending signals) must not
 * be shared by unrelated sandboxes. More than can run at once, and far from the uids of people and services.
 */
const SANDBOX_UIDS = 2048;
const DEFAULT_SANDBOX_UID = 743_000;
const FIRST_SANDBOX_UID = 2_000_000;

export interface InstanceDefaults {
  readonly stateDir: string;
  readonly runDir: string;
  readonly socket: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly cgroupParent: string;
  /** First loop device number; node slot n uses base + n. */
  readonly loopBase: number;
  /** TCP port of the gateway. */
  readonly gatewayPort: number;
  /** Host uid of the first sandbox. */
  readonly lambdaUidBase: number;
}

/** Derives the defaults from instance name and runtime. `uid` 0 gets system folders, any other user its own. */
export function instanceDefaults(instance: string, runtime: RuntimeName, uid: number): InstanceDefaults {
  const isDefault = instance === DEFAULT_INSTANCE;
  const suffix = isDefault ? '' : `-${instance}`;
  const spread = createHash('sha256').update(instance).digest().readUInt16BE(0) % RANGES;
  const { ofDefault, firstByte } = traitsOf(runtime).addresses;
  const network = isDefault ? ofDefault : `${firstByte}.${64 + Math.floor(spread / SUBNETS)}.${spread % SUBNETS}`;
  const folders = uid === 0 ? systemFolders(suffix) : userFolders(suffix, uid);
  return {
    ...folders,
    bridge: isDefault ? 'nexus0' : `nx-${instance}`,
    subnet: `${network}.0/24`,
    cgroupParent: `/nexus${suffix}`,
    loopBase: isDefault ? 100 : FIRST_LOOP_DEVICE + spread * LOOP_DEVICES,
    gatewayPort: isDefault ? DEFAULT_GATEWAY_PORT : FIRST_GATEWAY_PORT + spread,
    lambdaUidBase: isDefault ? DEFAULT_SANDBOX_UID : FIRST_SANDBOX_UID + spread * SANDBOX_UIDS,
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
