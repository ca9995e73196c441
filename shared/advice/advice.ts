/**
 * Advice on a problem as data: a key with its arguments. Code that finds a problem knows what would help, but
 * not how people reach Nexus; the edge that answers them has the words (`command-words.ts`).
 */

type Nothing = object;
interface OfNode {
  /** Name or id. */
  readonly node: string;
}
interface AtPath {
  readonly path: string;
}

/** Every advice with its arguments. A new one is added here, and its words where the compiler then misses them. */
export interface AdviceArguments {
  readonly 'list-nodes': Nothing;
  readonly 'see-node-state': Nothing;
  readonly 'await-start': Nothing;
  readonly 'start-node': OfNode;
  readonly 'start-stopped-node': OfNode;
  readonly 'start-failed-node': OfNode;
  readonly 'restart-node': OfNode;
  readonly 'restart-lost-node': OfNode;
  readonly 'restart-silent-node': OfNode;
  readonly 'replace-agent': OfNode;
  readonly 'inspect-agent': OfNode;
  readonly 'see-node-logs': OfNode;
  readonly 'create-node': Nothing;
  readonly 'create-another-node': Nothing;
  readonly 'drain-first': OfNode;
  readonly 'cancel-drain': OfNode;
  readonly 'remove-node-again': OfNode;
  readonly 'free-address': Nothing;
  readonly 'remove-all-nodes': Nothing;
  readonly 'stop-nodes': Nothing;
  readonly 'add-memory': OfNode;
  readonly 'choose-less-memory': Nothing;
  readonly 'repair-volume': OfNode;
  readonly 'free-volume': OfNode;
  readonly 'free-inodes': OfNode;
  /** `image`: the file on the host that has the volume. */
  readonly 'give-up-volume': OfNode & { readonly image: string };
  readonly 'list-files': Nothing;
  readonly 'list-lost-files': Nothing;
  /** `ranges`: of bytes, first to last, as `0-99` or `100-`. */
  readonly 'download-rest': { readonly file: string; readonly ranges: readonly string[] };
  readonly 'list-folder': Nothing;
  readonly 'make-folder': AtPath;
  readonly 'remove-folder': AtPath;
  readonly 'remove-path': Nothing;
  readonly 'overwrite-path': Nothing;
  readonly 'raise-quota': Nothing;
  readonly 'list-users': Nothing;
  readonly 'make-administrator': Nothing;
  readonly 'list-functions': Nothing;
  readonly 'list-images': Nothing;
  readonly 'rebuild-base-image': Nothing;
  readonly 'see-status': Nothing;
  readonly 'await-recovery': Nothing;
  readonly 'see-events': Nothing;
  readonly 'see-doctor': Nothing;
  readonly 'stop-controller': Nothing;
  readonly 'restart-cluster': Nothing;
  readonly 'choose-runtime': Nothing;
  readonly 'use-root': Nothing;
  readonly 'use-exported-state': Nothing;
  readonly 'import-state': AtPath;
  /** `choices`: the file in the state folder that names the earlier database. */
  readonly 'move-database': { readonly choices: string };
}

export type AdviceKey = keyof AdviceArguments;
export type Advice = { readonly [Key in AdviceKey]: { readonly key: Key } & AdviceArguments[Key] }[AdviceKey];

/** A problem with what to do about it; a NexusError is one. */
export interface Notice {
  readonly message: string;
  /** In the order in which it is given. */
  readonly advice: readonly Advice[];
}

/** A text that is shown or stored: plain, or with advice. */
export type Message = string | Notice;

/** Renders a message in one line, its advice in the words of an edge. */
export type Words = (message: Message) => string;

export const notice = (message: string, ...advice: readonly Advice[]): Notice => ({ message, advice });
