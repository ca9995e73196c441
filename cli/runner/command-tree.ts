/**
 * The words of the command line and, for each command, where its definition is. Loading a definition is left to the
 * moment when it is needed; the one-line summaries stand here so that lists of commands need none of them.
 */
import type { Group } from './command-group.js';

const node: Group = {
  summary: 'machines of the cluster',
  children: {
    create: {
      summary: 'make nodes and start them',
      load: async () => (await import('../node/create.js')).create,
    },
    ls: { summary: 'list all nodes', load: async () => (await import('../node/list.js')).list },
    inspect: {
      summary: 'everything about nodes',
      load: async () => (await import('../node/list.js')).inspect,
    },
    start: { summary: 'start a stopped node', load: async () => (await import('../node/verbs.js')).start },
    stop: {
      summary: 'stop a node, keeping its data',
      load: async () => (await import('../node/verbs.js')).stop,
    },
    restart: {
      summary: 'stop a node and start it',
      load: async () => (await import('../node/verbs.js')).restart,
    },
    rm: {
      summary: 'remove nodes and their data',
      load: async () => (await import('../node/remove.js')).remove,
    },
    logs: { summary: 'the log of a node', load: async () => (await import('../node/logs.js')).logs },
    exec: { summary: 'run a command in a node', load: async () => (await import('../node/exec.js')).exec },
    cordon: {
      summary: 'place nothing new on a node',
      load: async () => (await import('../node/verbs.js')).cordon,
    },
    uncordon: {
      summary: 'let a node take new data again',
      load: async () => (await import('../node/verbs.js')).uncordon,
    },
    drain: {
      summary: 'move everything off nodes',
      load: async () => (await import('../node/drain.js')).drain,
    },
    resize: {
      summary: 'change the limits of a node',
      load: async () => (await import('../node/verbs.js')).resize,
    },
    selftest: {
      summary: 'try to break out of a node',
      load: async () => (await import('../node/selftest.js')).selftest,
    },
  },
};

const file: Group = {
  summary: 'files, stored in chunks over the nodes',
  children: {
    upload: { summary: 'store a file', load: async () => (await import('../file/upload.js')).upload },
    download: { summary: 'fetch a file', load: async () => (await import('../file/download.js')).download },
    ls: { summary: 'list all files', load: async () => (await import('../file/list.js')).list },
    stat: { summary: 'facts about one file', load: async () => (await import('../file/list.js')).stat },
    where: { summary: 'which node has which chunk', load: async () => (await import('../file/list.js')).where },
    verify: {
      summary: 'read every replica and check it',
      load: async () => (await import('../file/verify.js')).verify,
    },
    scrub: {
      summary: 'read every copy back and repair what is damaged',
      load: async () => (await import('../file/upkeep.js')).scrub,
    },
    rebalance: {
      summary: 'make the nodes equally full',
      load: async () => (await import('../file/upkeep.js')).rebalance,
    },
    rm: { summary: 'remove files', load: async () => (await import('../file/list.js')).remove },
  },
};

const fs: Group = {
  summary: 'folders and files of your own, within your quota',
  children: {
    ls: { summary: 'what is in a folder', load: async () => (await import('../fs/list.js')).list },
    tree: {
      summary: 'a folder and everything below it',
      load: async () => (await import('../fs/list.js')).tree,
    },
    stat: {
      summary: 'facts about one file or folder',
      load: async () => (await import('../fs/list.js')).stat,
    },
    du: { summary: 'how much is below a path', load: async () => (await import('../fs/list.js')).usage },
    mkdir: { summary: 'make folders', load: async () => (await import('../fs/change.js')).makeFolder },
    upload: {
      summary: 'store a file or a folder',
      load: async () => (await import('../fs/upload.js')).upload,
    },
    download: {
      summary: 'fetch a file or a folder',
      load: async () => (await import('../fs/download.js')).download,
    },
    mv: {
      summary: 'move or rename a file or folder',
      load: async () => (await import('../fs/change.js')).move,
    },
    rm: { summary: 'remove files and folders', load: async () => (await import('../fs/change.js')).remove },
    quota: {
      summary: 'how much may be stored, and how much is',
      load: async () => (await import('../fs/quota.js')).quota,
    },
  },
};

const agent: Group = {
  summary: 'the agent of one node',
  children: {
    inspect: {
      summary: 'the state that an agent reports',
      load: async () => (await import('../node/agent.js')).inspect,
    },
    'ls-chunks': {
      summary: 'the chunks on a node’s volume',
      load: async () => (await import('../node/agent.js')).listChunks,
    },
  },
};

const image: Group = {
  summary: 'root file systems that nodes are made from',
  children: {
    ls: { summary: 'list all images', load: async () => (await import('../image/image.js')).list },
    build: { summary: 'build the base image', load: async () => (await import('../image/image.js')).build },
    import: {
      summary: 'make an image from a tarball',
      load: async () => (await import('../image/image.js')).importImage,
    },
    rm: { summary: 'remove images', load: async () => (await import('../image/image.js')).remove },
  },
};

const lambda: Group = {
  summary: 'Python code in sandboxes',
  children: {
    run: { summary: 'run code once', load: async () => (await import('../lambda/run.js')).run },
    deploy: {
      summary: 'store code under a name',
      load: async () => (await import('../lambda/functions.js')).deploy,
    },
    invoke: {
      summary: 'run a function',
      load: async () => (await import('../lambda/functions.js')).invoke,
    },
    ls: { summary: 'list your functions', load: async () => (await import('../lambda/functions.js')).list },
    rm: {
      summary: 'remove functions with all their versions',
      load: async () => (await import('../lambda/functions.js')).remove,
    },
    logs: {
      summary: 'the last invocations of a function',
      load: async () => (await import('../lambda/functions.js')).logs,
    },
    selftest: {
      summary: 'try to break out of a sandbox',
      load: async () => (await import('../lambda/selftest.js')).selftest,
    },
    stats: {
      summary: 'statistics of lambda',
      load: async () => (await import('../lambda/stats.js')).stats,
    },
  },
};

const state: Group = {
  summary: 'the state of the cluster: export, import, rebuild',
  children: {
    export: {
      summary: 'export the state of the cluster',
      load: async () => (await import('../state/state.js')).exportState,
    },
    import: {
      summary: 'import an exported state',
      load: async () => (await import('../state/state.js')).importState,
    },
    rebuild: {
      summary: 'rebuild the state from the volumes',
      load: async () => (await import('../state/state.js')).rebuildState,
    },
  },
};

const user: Group = {
  summary: 'accounts and what they may do (administrators)',
  children: {
    ls: { summary: 'list all accounts', load: async () => (await import('../user/list.js')).list },
    create: { summary: 'make an account', load: async () => (await import('../user/create.js')).create },
    'set-role': {
      summary: 'make an account an administrator, or not',
      load: async () => (await import('../user/change.js')).setRole,
    },
    'set-quota': {
      summary: 'how much an account may store',
      load: async () => (await import('../user/change.js')).setQuota,
    },
    disable: { summary: 'disable accounts', load: async () => (await import('../user/change.js')).disable },
    enable: {
      summary: 'enable disabled accounts',
      load: async () => (await import('../user/change.js')).enable,
    },
    audit: {
      summary: 'the audit log of accounts, newest first',
      load: async () => (await import('../user/list.js')).audit,
    },
    'rotate-key': {
      summary: 'sign tokens with a new key from now on',
      load: async () => (await import('../user/change.js')).rotateKey,
    },
  },
};

export const COMMANDS: Group = {
  summary: 'a whole cloud on one Linux machine',
  children: {
    up: { summary: 'start the cluster', load: async () => (await import('../cluster/up.js')).up },
    down: { summary: 'stop the cluster', load: async () => (await import('../cluster/down.js')).down },
    status: { summary: 'the cluster at a glance', load: async () => (await import('../cluster/status.js')).status },
    doctor: {
      summary: 'can this host run it, and what to change',
      load: async () => (await import('../cluster/doctor.js')).doctor,
    },
    top: { summary: 'what nodes use, live', load: async () => (await import('../node/top.js')).top },
    metrics: { summary: 'what one node uses', load: async () => (await import('../node/metrics.js')).metrics },
    events: { summary: 'what happens in the cluster', load: async () => (await import('../cluster/events.js')).events },
    node,
    file,
    fs,
    agent,
    lambda,
    image,
    state,
    user,
    login: {
      summary: 'let commands go through a gateway',
      load: async () => (await import('../session/login.js')).login,
    },
    register: {
      summary: 'make an account of your own at a gateway',
      load: async () => (await import('../session/login.js')).register,
    },
    whoami: { summary: 'who you are, and where', load: async () => (await import('../session/session.js')).whoami },
    logout: {
      summary: 'end a login; commands stay on this machine',
      load: async () => (await import('../session/session.js')).logout,
    },
    completion: {
      summary: 'make a shell complete commands, flags, nodes and files',
      children: {
        bash: {
          summary: 'the completion script for bash',
          load: async () => (await import('./completion.js')).script('bash'),
        },
        zsh: {
          summary: 'the completion script for zsh',
          load: async () => (await import('./completion.js')).script('zsh'),
        },
        fish: {
          summary: 'the completion script for fish',
          load: async () => (await import('./completion.js')).script('fish'),
        },
        candidates: {
          summary: 'candidates for the last word of a line; called by the shells',
          isInternal: true,
          load: async () => (await import('./completion.js')).candidates(COMMANDS),
        },
      },
    },
    help: { summary: 'what a command does', load: async () => (await import('./help.js')).help(COMMANDS) },
    daemon: {
      summary: 'the controller in the foreground',
      load: async () => (await import('../cluster/up.js')).daemon,
    },
  },
};
