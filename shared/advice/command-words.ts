/**
 * Every advice in the words of the command line. Only edges import this: what answers people, or writes down what they
 * read later (deploy/check-boundaries.mjs). Clients of REST and gRPC get these words, too: those who can act on them
 * have the command line. The test of advice checks each against the tree of commands.
 */
import type { Advice, AdviceArguments, AdviceKey, Message } from './advice.js';

type Worded<Key extends AdviceKey> = (given: AdviceArguments[Key]) => string;

const COUNT_INODES = `sh -c 'find / /data -xdev | sed "s,/[^/]*$,," | sort | uniq -c | sort -n | tail'`;

const WORDS: { readonly [Key in AdviceKey]: Worded<Key> } = {
  'list-nodes': () => 'nexus node ls lists them',
  'see-node-state': () => 'nexus node ls shows its state',
  'await-start': () => 'wait until nexus node ls shows it Running',
  'start-node': ({ node }) => `start it with: nexus node start ${node}`,
  'start-stopped-node': ({ node }) => `when it is Stopped, start it with: nexus node start ${node}`,
  'start-failed-node': ({ node }) => `see nexus node logs ${node}, then nexus node start ${node}`,
  'restart-node': ({ node }) => `restart it with: nexus node restart ${node}`,
  'restart-lost-node': ({ node }) =>
    `what has copies elsewhere is copied again; nexus node restart ${node} brings it back`,
  'restart-silent-node': ({ node }) => `see nexus node logs ${node}; if it stays silent: nexus node restart ${node}`,
  'replace-agent': ({ node }) =>
    `nexus node restart ${node} starts a fresh agent; if this continues, do not trust what runs in the node`,
  'inspect-agent': ({ node }) => `it may only be busy; nexus agent inspect ${node} shows whether it responds`,
  'see-node-logs': ({ node }) => `see nexus node logs ${node}`,
  'create-node': () => 'create one with: nexus node create NAME --storage 1G',
  'create-another-node': () => 'or create one with: nexus node create NAME --storage 1G',
  'drain-first': ({ node }) => `nexus node drain ${node} moves them to other nodes first; --force loses them`,
  'cancel-drain': ({ node }) => `nexus node uncordon ${node} cancels the drain`,
  'remove-node-again': ({ node }) => `try again with: nexus node rm ${node}`,
  'free-address': () => 'remove a node with: nexus node rm NAME, or set a larger subnet',
  'remove-all-nodes': () =>
    'or remove the nodes first: nexus node rm NAME for each, or nexus down --purge for everything',
  'stop-nodes': () => 'stop them with: nexus down; the next start accepts another one',
  'add-memory': ({ node }) => `give it more memory with: nexus node resize ${node} --mem SIZE`,
  'choose-less-memory': () => 'choose a smaller --mem',
  'repair-volume': ({ node }) => `nexus node restart ${node} tries at once; nexus events shows what was tried`,
  'free-volume': ({ node }) =>
    `remove files, or add a node and run nexus file rebalance; files that commands wrote in the node count, too: nexus node exec ${node} -- du -h -d 3 /data`,
  'free-inodes': ({ node }) =>
    `remove files, or add a node and run nexus file rebalance; files that commands made in the node count, too; the folders with most: nexus node exec ${node} -- ${COUNT_INODES}`,
  'give-up-volume': ({ node, image }) =>
    `what has copies elsewhere is safe: give the volume up with nexus node rm ${node}, which names what only it has; ` +
    `to try to save that: cp --sparse=always ${image} ${image}.before && e2fsck -y ${image}, then nexus node start ${node}`,
  'list-files': () => 'nexus file ls lists them',
  'list-lost-files': () => 'nexus file ls --lost lists the files to store again',
  'download-rest': ({ file, ranges }) =>
    `the rest of the file may be intact: nexus file download ${file} DEST --range ${ranges.join(' or ')}`,
  'list-folder': () => 'nexus fs ls lists what there is',
  'make-folder': ({ path }) => `make it first: nexus fs mkdir -p ${path}`,
  'remove-folder': ({ path }) => `remove it with everything in it: nexus fs rm -r ${path}`,
  'remove-path': () => 'remove that with: nexus fs rm PATH',
  'overwrite-path': () => 'replace it with --overwrite, or choose another path',
  'raise-quota': () => 'remove files, or ask an administrator for more: nexus user set-quota NAME LIMIT',
  'list-users': () => 'nexus user ls lists them',
  'make-administrator': () =>
    "make another one first with: nexus user set-role NAME admin; or do it on the cluster's own machine",
  'list-functions': () => 'nexus lambda ls lists yours',
  'list-images': () => 'nexus image ls lists them, nexus image import adds one',
  'rebuild-base-image': () => 'or rebuild the base image: nexus image rm base, then nexus image build',
  'see-status': () => 'see nexus status',
  'await-recovery': () => 'try again when nexus status no longer reports it',
  'see-events': () => 'nexus events shows what failed',
  'see-doctor': () => 'see nexus doctor',
  'stop-controller': () => 'nexus status shows it, nexus down stops it',
  'restart-cluster': () => 'restart the cluster with: nexus down, then nexus up',
  'choose-runtime': () => 'use --runtime runc, or boot with systemd.unified_cgroup_hierarchy=1',
  'use-root': () => 'use sudo, or nexus up --runtime process',
  'use-exported-state': () => 'give a file that nexus state export wrote',
  'import-state': ({ path }) => `nexus state import ${path} restores them; to start empty, move that file away`,
  'move-database': ({ choices }) =>
    `to move the cluster: with the earlier database, nexus state export FILE, then nexus down; remove ${choices}, start with the new database, and nexus state import FILE`,
};

export const adviceText = (advice: Advice): string => (WORDS[advice.key] as (given: Advice) => string)(advice);

/** `what happened; what to do; what else to do`. */
export const inCommandWords = (message: Message): string =>
  typeof message === 'string' ? message : [message.message, ...message.advice.map(adviceText)].join('; ');
