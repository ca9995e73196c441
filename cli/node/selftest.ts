/** `nexus node selftest`: attacks real nodes as their root; each row reports what was tried and what stopped it. */
import { abilitiesOf, isRuntimeName } from '../../shared/config/runtimes.js';
import { NexusError } from '../../shared/errors.js';
import { command } from '../runner/command.js';
import { carryOut, chosen, ONLY, printRows, type Row } from '../selftest/rows.js';
import type { Attack } from './selftest/attack.js';
import { Attacker, withOwnNodes } from './selftest/attacker.js';
import { EXHAUSTION } from './selftest/exhaustion.js';
import { FILES } from './selftest/files.js';
import { KERNEL } from './selftest/kernel.js';
import { MOUNTS } from './selftest/mounts.js';
import { NETWORK } from './selftest/network.js';
import { PROCESSES } from './selftest/processes.js';
import { SECRETS, START } from './selftest/start.js';
import { USERS } from './selftest/users.js';

const ATTACKS: readonly Attack[] = [
  ...USERS,
  ...FILES,
  ...MOUNTS,
  ...KERNEL,
  ...NETWORK,
  ...SECRETS,
  ...PROCESSES,
  ...START,
  ...EXHAUSTION,
];

export const selftest = command({
  summary: 'try to break out of a node',
  details:
    'Runs real attacks as root of a node. Without a name it makes two small nodes for that, and removes them in the end. On nodes that you name it leaves out what harms them or needs a second one; they need python3. Exits with 1 when an attack gets through.',
  positionals: {
    nodes: {
      description: 'names, ids or unique beginnings of ids',
      completes: 'node',
      many: true,
      optional: true,
      field: 'node',
    },
  },
  flags: { only: ONLY },
  examples: [
    ['nexus node selftest', 'all attacks, on nodes of its own, one to two minutes'],
    ['nexus node selftest web-1', 'those that do a node no harm'],
    ['nexus node selftest --only mounts', 'some of them'],
  ],
  run: async (input, context) => {
    const all = chosen(ATTACKS, input.only);
    const { settings } = context;
    const controller = await context.connect();
    const { runtime } = await controller.call(controller.cluster, controller.cluster.getStatus, {});
    if (isRuntimeName(runtime) && !abilitiesOf(runtime).confinement)
      throw new NexusError(
        'failed_precondition',
        `nodes of the runtime "${runtime}" are plain processes of this machine, and nothing confines them`,
      );
    const rows: Row[] = [];
    const attack = async (attacker: Attacker, attacks: readonly Attack[]): Promise<void> => {
      await attacker.prepare();
      for (const one of attacks) {
        context.throwIfInterrupted();
        const { name, ...row } = await carryOut(one, (step) => attacker.carryOut(step));
        rows.push({ ...(input.nodes.length > 1 ? { name: `${name} (${attacker.name})` } : { name }), ...row });
      }
    };
    if (input.nodes.length === 0) {
      await withOwnNodes(controller, context, async (attacker) => await attack(attacker, all));
    } else {
      const harmless = chosen(all.filter(({ isForOwnNodes }) => isForOwnNodes !== true));
      for (const node of input.nodes) {
        using attacker = await Attacker.on(controller, settings, node);
        await attack(attacker, harmless);
      }
    }
    return await printRows(context, rows);
  },
});
