/**
 * Words that people of docker, kubectl, incus and S3 tools type: either they are one of our commands under another
 * name, or they mean several of ours, and then the refusal says which. Help and completion offer our own words alone.
 */

/** The words to use instead; a text is shown where there is more than one way, or none. */
type Alias = readonly string[] | string;
type Aliases = Readonly<Record<string, Alias>>;

const LIST = { list: ['ls'], ps: ['ls'] } as const;
const REMOVE = { delete: ['rm'], remove: ['rm'], del: ['rm'] } as const;
const MOVE_BYTES = {
  put: ['upload'],
  push: ['upload'],
  add: ['upload'],
  get: ['download'],
  pull: ['download'],
} as const;
const SHELL = 'a shell is: nexus node exec -it NODE -- sh';
const COPY =
  'bytes are copied with: nexus file upload PATH, nexus file download ID DEST, nexus fs upload SRC PATH, nexus fs download PATH DEST';
const NEW_NODE = 'nexus node create NAME makes a node; nexus lambda run FILE runs Python code';
const NODE_SHOWN = 'containers are nodes here: nexus node ls lists them, nexus node inspect NODE shows one';
const NOTHING_DECLARED =
  'nothing is declared in files; create things one by one: nexus node create NAME, nexus lambda deploy NAME FILE';
const SCALE = 'more nodes: nexus node create NAME NAME; a larger one: nexus node resize NODE --mem SIZE --cpu WEIGHT';
const IMAGE =
  'there is no registry; an image is made from a tarball: nexus image import NAME TARBALL; the base image: nexus image build';
export const VOLUME =
  'a node has one volume of its own: nexus node create NAME --storage SIZE makes it, nexus node inspect NODE shows it';
export const NETWORK = 'all nodes are in one network, each with an address of its own: nexus node ls shows it';
const SETTINGS =
  'settings are in /etc/nexus/nexus.yaml or the file of --config; select a cluster with --instance NAME or --url URL';
const NO_PAUSE = 'a node cannot be paused; stop it, which keeps its data: nexus node stop NODE';
const NO_RENAME = 'a node keeps its name; files and folders are renamed with: nexus fs mv FROM TO';
const WAIT = 'each command returns when it is done; to watch events: nexus events -f';
const SHOW = 'show one thing with: nexus node inspect NODE, nexus file stat FILE, nexus fs stat PATH';
const LABEL = 'labels are given to a new node: nexus node create NAME --label KEY=VALUE';
export const OTHER_CLUSTERS = 'clusters on one host are distinguished by --instance NAME';
const CAT = 'a file is written to standard output with: nexus fs download PATH -';
const NO_EDIT = 'limits are changed with: nexus node resize NODE --mem SIZE --cpu WEIGHT';

/** Several words that have the same answer. */
const each = (meant: string, ...words: string[]): Aliases => Object.fromEntries(words.map((word) => [word, meant]));

/** By the words before, without `nexus`. */
export const ALIASES: Readonly<Record<string, Aliases>> = {
  '': {
    ps: ['node', 'ls'],
    nodes: ['node', 'ls'],
    files: ['file', 'ls'],
    images: ['image', 'ls'],
    users: ['user', 'ls'],
    functions: ['lambda', 'ls'],
    ...Object.fromEntries(
      ['start', 'stop', 'restart', 'exec', 'logs', 'inspect', 'cordon', 'uncordon', 'drain'].map((verb) => [
        verb,
        ['node', verb],
      ]),
    ),
    get: [],
    describe: [],
    delete: [],
    system: [],
    container: ['node'],
    instance: ['node'],
    vm: ['node'],
    containers: ['node', 'ls'],
    instances: ['node', 'ls'],
    ...each(NODE_SHOWN, 'pod', 'pods'),
    'cluster-info': ['status'],
    cluster: ['status'],
    resize: ['node', 'resize'],
    reboot: ['node', 'restart'],
    mv: ['fs', 'mv'],
    du: ['fs', 'du'],
    cat: CAT,
    ...each(SHOW, 'stat', 'show'),
    pull: IMAGE,
    push: `${COPY}; images: nexus image import NAME TARBALL`,
    ...each(IMAGE, 'build', 'tag', 'commit', 'search', 'history', 'load', 'save'),
    import: 'an image: nexus image import NAME TARBALL; the state: nexus state import FILE',
    export: 'the state: nexus state export FILE; a file: nexus file download ID DEST',
    ...each(NOTHING_DECLARED, 'apply', 'replace', 'compose', 'stack', 'rollout', 'service'),
    ...each(SCALE, 'scale', 'autoscale'),
    ...each(SETTINGS, 'config', 'settings', 'context'),
    remote: 'commands go through a gateway after: nexus login URL --user NAME',
    rename: NO_RENAME,
    ...each(VOLUME, 'volume', 'volumes', 'storage'),
    ...each(NETWORK, 'network', 'networks', 'port', 'expose', 'port-forward'),
    ...each(NO_PAUSE, 'pause', 'unpause'),
    wait: WAIT,
    label: LABEL,
    ...each(OTHER_CLUSTERS, 'namespace', 'project'),
    ...each(NO_EDIT, 'update', 'edit', 'set'),
    info: ['status'],
    stats: ['top'],
    upload: ['file', 'upload'],
    download: ['file', 'download'],
    mkdir: ['fs', 'mkdir'],
    tree: ['fs', 'tree'],
    quota: ['fs', 'quota'],
    rmi: ['image', 'rm'],
    invoke: ['lambda', 'invoke'],
    deploy: ['lambda', 'deploy'],
    ls: 'name the kind of thing: nexus node ls, nexus file ls, nexus fs ls, nexus image ls',
    list: 'name the kind of thing: nexus node ls, nexus file ls, nexus fs ls, nexus image ls',
    rm: 'name the kind of thing: nexus node rm, nexus file rm, nexus fs rm, nexus image rm',
    ...each(NEW_NODE, 'create', 'run', 'launch'),
    ...each(COPY, 'cp', 'copy'),
    ...each(SHELL, 'sh', 'shell', 'ssh', 'attach'),
    kill: 'a node is stopped at once with: nexus node stop NODE --grace 100ms',
    version: 'it is: nexus --version',
    purge: 'everything is removed with: nexus down --purge',
    adduser: ['user', 'create'],
  },
  // kubectl's order of words: the verb, and then the kind of thing.
  get: {
    nodes: ['node', 'ls'],
    node: ['node', 'ls'],
    files: ['file', 'ls'],
    images: ['image', 'ls'],
    users: ['user', 'ls'],
    functions: ['lambda', 'ls'],
    events: ['events'],
    all: ['status'],
    ...each(NODE_SHOWN, 'pods', 'pod', 'po', 'deployments'),
    ...each(NETWORK, 'services', 'svc'),
    ...each(VOLUME, 'pv', 'pvc'),
    ...each(OTHER_CLUSTERS, 'namespaces', 'ns'),
  },
  describe: {
    node: ['node', 'inspect'],
    nodes: ['node', 'inspect'],
    file: ['file', 'stat'],
    files: ['file', 'stat'],
    ...each(NODE_SHOWN, 'pod', 'pods'),
  },
  delete: {
    node: ['node', 'rm'],
    nodes: ['node', 'rm'],
    file: ['file', 'rm'],
    files: ['file', 'rm'],
    image: ['image', 'rm'],
    function: ['lambda', 'rm'],
    pod: 'containers are nodes here: nexus node rm NODE removes one with its data',
    pods: 'containers are nodes here: nexus node rm NODE removes one with its data',
  },
  system: {
    df: ['status'],
    info: ['status'],
    events: ['events'],
    prune: 'unused data is removed automatically; remove the rest with: nexus node rm, nexus image rm, nexus file rm',
  },
  top: { nodes: [], node: [], pods: [], pod: [] },
  node: {
    ...LIST,
    ...REMOVE,
    get: ['inspect'],
    show: ['inspect'],
    info: ['inspect'],
    describe: ['inspect'],
    stat: ['inspect'],
    add: ['create'],
    new: ['create'],
    launch: ['create'],
    log: ['logs'],
    run: NEW_NODE,
    ...each(NO_EDIT, 'update', 'edit', 'set'),
    ...each(SHELL, 'sh', 'shell', 'ssh', 'attach'),
    kill: 'a node is stopped at once with: nexus node stop NODE --grace 100ms',
    cp: 'copy bytes through exec: nexus node exec -i NODE -- tee PATH < FILE',
    file: 'copy bytes through exec: nexus node exec -i NODE -- tee PATH < FILE',
    ...each(NO_RENAME, 'rename', 'mv'),
    ...each(NO_PAUSE, 'pause', 'unpause'),
    label: LABEL,
    port: NETWORK,
    scale: SCALE,
    wait: WAIT,
    prune: 'nodes go with: nexus node rm NODE',
    config: NO_EDIT,
    top: 'it is: nexus top',
    stats: 'it is: nexus top',
    metrics: 'it is: nexus metrics NODE',
  },
  file: { ...LIST, ...REMOVE, ...MOVE_BYTES, show: ['stat'], info: ['stat'], inspect: ['stat'], cp: COPY },
  fs: {
    ...LIST,
    ...REMOVE,
    ...MOVE_BYTES,
    dir: ['ls'],
    move: ['mv'],
    rename: ['mv'],
    rmdir: ['rm'],
    info: ['stat'],
    cat: CAT,
    cp: COPY,
  },
  image: {
    ...LIST,
    ...REMOVE,
    rmi: ['rm'],
    load: ['import'],
    add: ['import'],
    ...each(IMAGE, 'pull', 'push', 'save', 'tag'),
    inspect: 'everything about images: nexus image ls -o json',
    prune: 'images go with: nexus image rm NAME',
  },
  lambda: { ...LIST, ...REMOVE, create: ['deploy'], update: ['deploy'], call: ['invoke'] },
  user: {
    ...LIST,
    add: ['create'],
    new: ['create'],
    rm: 'an account stays, so that its name is never given again; disable it with: nexus user disable NAME',
    delete: 'an account stays, so that its name is never given again; disable it with: nexus user disable NAME',
  },
};

/** The kinds that may stand behind a verb, for a refusal. */
export const kindsAfter = (verb: string): readonly string[] =>
  Object.entries(ALIASES[verb] ?? {}).flatMap(([kind, meant]) => (typeof meant === 'string' ? [] : [kind]));

/** `way`: the words so far, without `nexus`. */
export function aliasOf(way: readonly string[], word: string): Alias | undefined {
  const here = ALIASES[way.join(' ')];
  return here !== undefined && Object.hasOwn(here, word) ? here[word] : undefined;
}
