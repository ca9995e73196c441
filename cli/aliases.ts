/**
 * Words that people of docker, kubectl, incus and S3 tools type: either they are one of our commands under another
 * name, or they mean several of ours, and then the refusal says which. Help and completion offer our own words alone.
 */

/** What is typed instead; a text is said to the person, as there is more than one way or none. */
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
const NO_EDIT = 'limits are changed with: nexus node resize NODE --mem SIZE --cpu WEIGHT';

/** By the words before, without `nexus`. */
const ALIASES: Readonly<Record<string, Aliases>> = {
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
    ls: 'what there is lists: nexus node ls, nexus file ls, nexus fs ls, nexus image ls',
    list: 'what there is lists: nexus node ls, nexus file ls, nexus fs ls, nexus image ls',
    rm: 'what it is that goes says: nexus node rm, nexus file rm, nexus fs rm, nexus image rm',
    create: NEW_NODE,
    run: NEW_NODE,
    launch: NEW_NODE,
    cp: COPY,
    copy: COPY,
    sh: SHELL,
    shell: SHELL,
    ssh: SHELL,
    attach: SHELL,
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
    events: ['events'],
  },
  describe: { node: ['node', 'inspect'], file: ['file', 'stat'] },
  delete: { node: ['node', 'rm'], file: ['file', 'rm'], image: ['image', 'rm'] },
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
    update: NO_EDIT,
    edit: NO_EDIT,
    set: NO_EDIT,
    sh: SHELL,
    shell: SHELL,
    ssh: SHELL,
    attach: SHELL,
    kill: 'a node is stopped at once with: nexus node stop NODE --grace 100ms',
    cp: 'bytes go in and out through exec: nexus node exec -i NODE -- tee PATH < FILE',
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
    cat: 'a file is written to standard output with: nexus fs download PATH -',
    cp: COPY,
  },
  image: { ...LIST, ...REMOVE, rmi: ['rm'], load: ['import'], add: ['import'] },
  lambda: { ...LIST, ...REMOVE, create: ['deploy'], update: ['deploy'], call: ['invoke'] },
  user: {
    ...LIST,
    add: ['create'],
    new: ['create'],
    rm: 'an account stays, so that its name is never given again; it is shut out with: nexus user disable NAME',
    delete: 'an account stays, so that its name is never given again; it is shut out with: nexus user disable NAME',
  },
};

/** `way`: the words so far, without `nexus`. */
export function aliasOf(way: readonly string[], word: string): Alias | undefined {
  const here = ALIASES[way.join(' ')];
  return here !== undefined && Object.hasOwn(here, word) ? here[word] : undefined;
}
