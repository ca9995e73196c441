/** Flags and forms of output that people of docker, kubectl and incus type, and what is typed here instead. */
import { NETWORK, OTHER_CLUSTERS, VOLUME } from './aliases.js';

const ALL_LISTED = 'stopped nodes are always listed';
const IN_BACKGROUND = 'a node always runs in the background';
const SCRIPTS = "for scripts: -o json, for example: nexus node ls -o json | jq -r '.[].name'";

/** Flags of other tools that are none of ours, by the command; those of '' may stand anywhere. */
export const FLAG_HINTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'node ls': { '-a': ALL_LISTED, '--all': ALL_LISTED },
  'node create': {
    '--name': 'the name stands alone: nexus node create NAME',
    '-d': IN_BACKGROUND,
    '--detach': IN_BACKGROUND,
    '-p': NETWORK,
    '--publish': NETWORK,
    '-v': VOLUME,
    '--volume': VOLUME,
  },
  events: { '--since': 'the newest so many: nexus events --last N', '-w': 'it is -f', '--watch': 'it is --follow' },
  '': {
    '-q': SCRIPTS,
    '--quiet': SCRIPTS,
    '--json': 'it is: -o json',
    '--yaml': 'it is: -o yaml',
    '--no-trunc': 'in a pipe nothing is shortened or left out',
    '-w': 'to watch: nexus top, nexus events -f',
    '--watch': 'to watch: nexus top, nexus events -f',
    '-A': OTHER_CLUSTERS,
    '--all-namespaces': OTHER_CLUSTERS,
    '-n': OTHER_CLUSTERS,
    '--namespace': OTHER_CLUSTERS,
    '--context': OTHER_CLUSTERS,
    '--filter': 'for scripts: -o json, and then jq',
  },
};

/** `where`: the command's words with `nexus`, as in errors. */
export function flagHint(where: string, flag: string): string | undefined {
  const [dashed = ''] = flag.split(' ');
  const own = FLAG_HINTS[where.split(' ').slice(1).join(' ')];
  return own?.[dashed] ?? FLAG_HINTS['']?.[dashed];
}

/** Maps output formats of other tools to ours. */
export const OUTPUT_HINTS: Readonly<Record<string, string>> = {
  wide: 'a table has all columns that fit, and all there are in a pipe: nexus node ls | cat',
  name: SCRIPTS,
};
