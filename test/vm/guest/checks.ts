/**
 * What is shown in the guest, in this order; each builds on what those before it have made. A check is one entry here:
 * its name is the test's name. The host reads the names, the guest runs them.
 */
import {
  adoptAfterKill,
  changeLimits,
  keepFilesAndRunCode,
  purgeCrun,
  runCommands,
  startWithCrun,
} from './crun-checks.js';
import { findNothingMissing, findNetem, haveUnifiedCgroups } from './host-checks.js';
import { fetchWhatWasSent } from './file-checks.js';
import type { Guest } from './guest.js';
import { holdAttacks, holdAttacksOfRoot, runLambda } from './lambda-checks.js';
import { bound, bounded, cutOffProcesses, endForWantOfMemory, killCommand, resize } from './limit-checks.js';
import { countUse } from './metrics-checks.js';
import { becomeRoot, createNodes, keepData, removeNode } from './node-checks.js';
import {
  gatewayAnswers,
  gatewayStays,
  leaveNothing,
  lockDown,
  outliveKill,
  outliveRestart,
  startUnits,
  uninstall,
  upByHand,
} from './unit-checks.js';

export interface Check {
  readonly name: string;
  readonly run: (guest: Guest) => Promise<void>;
  /** Part of the short form, too. */
  readonly isShort?: boolean;
  /** The others have nothing to stand on when it fails. */
  readonly isBase?: boolean;
}

export const CHECKS: readonly Check[] = [
  { name: 'cgroups are pure v2', run: haveUnifiedCgroups, isShort: true, isBase: true },
  { name: 'nexus doctor finds nothing missing', run: findNothingMissing, isShort: true },
  { name: 'nexus doctor finds netem in this kernel', run: findNetem },
  { name: 'systemd starts the installed controller', run: startUnits, isShort: true, isBase: true },
  { name: 'systemd starts the installed gateway, which answers', run: gatewayAnswers, isShort: true },
  { name: 'what the units forbid is forbidden by the kernel', run: lockDown, isShort: true },
  { name: 'two nodes are created and run', run: createNodes, isShort: true, isBase: true },
  { name: 'a user of a node becomes its root by a set-user-id program, and no more', run: becomeRoot, isShort: true },
  { name: 'their limits are in the kernel, on the parent of all their processes', run: bound, isShort: true },
  { name: 'a node sees its own cgroup and nothing above it', run: bounded },
  { name: 'a file of three chunks comes back as it was', run: fetchWhatWasSent, isShort: true },
  { name: 'a command over --mem is killed, and its agent lives', run: killCommand, isShort: true },
  { name: 'a fork bomb ends at the pids limit', run: cutOffProcesses },
  { name: 'code runs in a sandbox below its node, and ends as a whole at its limit', run: runLambda, isShort: true },
  { name: 'every attack of nexus lambda selftest is held', run: holdAttacks },
  { name: 'every attack of nexus node selftest is held', run: holdAttacksOfRoot },
  { name: 'metrics tell what half a core and 100 MB are', run: countUse, isShort: true },
  { name: 'nodes and files outlive a killed controller, which systemd starts again', run: outliveKill, isShort: true },
  { name: 'nodes and files outlive systemctl restart', run: outliveRestart },
  { name: 'resize changes the limits of a running node', run: resize },
  { name: 'a node keeps its data over stop and start', run: keepData },
  { name: 'an agent that is killed for want of memory is told as such', run: endForWantOfMemory },
  { name: 'a removed node leaves no cgroup', run: removeNode },
  { name: 'the gateway is still the one of the start, and tells of the nodes', run: gatewayStays, isShort: true },
  { name: 'nexus down --purge leaves nothing, and systemd lets it rest', run: leaveNothing, isShort: true },
  { name: 'the installed nexus up works without units', run: upByHand },
  { name: 'nexus up --runtime crun makes nodes with crun', run: startWithCrun, isShort: true },
  { name: 'crun: commands have their output, exit code, signals and terminal', run: runCommands, isShort: true },
  {
    name: 'crun: a user of a node becomes its root by a set-user-id program, and no more',
    run: becomeRoot,
    isShort: true,
  },
  { name: 'crun: a file comes back and is whole, and code runs', run: keepFilesAndRunCode, isShort: true },
  { name: 'crun: resize changes the limits of a running node', run: changeLimits, isShort: true },
  {
    name: 'crun: nodes outlive a killed controller, are adopted, stop and start',
    run: adoptAfterKill,
    isShort: true,
  },
  { name: 'crun: nexus down --purge leaves nothing', run: purgeCrun, isShort: true },
  { name: 'install.sh --uninstall takes all away but the settings', run: uninstall, isShort: true },
];
