/**
 * The boundaries of docs/architecture.md as rules. deploy/check-boundaries.mjs applies them and makes sure that they
 * have seen every source file.
 */
'use strict';

/**
 * Concrete adapters, named by their technology. What else lies in their folders is ports and pure logic; an adapter
 * that is added belongs in this list.
 */
const ADAPTERS = [
  '^controller/hosting/contained/(oci|bridge|flood|image-file)[^/]*[.]ts$',
  '^controller/hosting/process/(process|loopback|directory)[^/]*[.]ts$',
  '^controller/store/(?!port/)[^/]+/',
  '^controller/identity/(typeorm|entities|smtp|outbox)[^/]*[.]ts$',
  '^controller/identity/migrations/',
  '^controller/bus/nats[^/]*[.]ts$',
  '^controller/lambda/sandbox/(template|none)[^/]*[.]ts$',
  '^controller/image/folder-[^/]*[.]ts$',
  '^controller/log/writer-[^/]*[.]ts$',
  '^agent/bus/nats[^/]*[.]ts$',
  '^agent/volume/(mounted|directory)[^/]*[.]ts$',
  '^shared/bus/nats[^/]*[.]ts$',
].join('|');

/** What chooses adapters: the processes' mains, and the profile of each kind of hosting. */
const MAIN = '^(controller|agent|gateway|cli)/(main|compose/adapters|hosting/profiles|hosting/[a-z]+/profile)[.]ts$';
const TESTS = '^test/';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'process-imports-process',
      comment: 'A process knows another one by messages alone; what both need lies in shared/.',
      severity: 'error',
      from: { path: '^(controller|agent|gateway|cli)/' },
      to: { path: '^(controller|agent|gateway|cli)/', pathNot: '^$1/' },
    },
    {
      name: 'shared-imports-process',
      comment: 'shared/ serves every process and so depends on none.',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(controller|agent|gateway|cli|test)/' },
    },
    {
      name: 'production-imports-tests',
      comment: 'Tests and their fakes are not part of the product.',
      severity: 'error',
      from: { pathNot: TESTS },
      to: { path: TESTS },
    },
    {
      name: 'only-main-names-adapters',
      comment:
        'Use cases speak to ports; which technology is behind them is decided in one place (main.ts, compose/, profiles of hosting).',
      severity: 'error',
      from: { pathNot: [MAIN, TESTS, ADAPTERS] },
      to: { path: ADAPTERS },
    },
    {
      name: 'adapter-imports-foreign-adapter',
      comment:
        'An adapter may be split over files of its own capability; another capability is reached by its port. How a ' +
        'database is opened and written is one for all stores.',
      severity: 'error',
      from: { path: '^((?:controller|agent|gateway|cli|shared)/[^/]+)/', pathNot: MAIN },
      to: { path: ADAPTERS, pathNot: ['^$1/', '^controller/store/typeorm/database'] },
    },
    {
      name: 'only-profiles-name-kinds',
      comment: 'What a kind of hosting is made of is known to its profile alone; others ask the port.',
      severity: 'error',
      from: { pathNot: ['^controller/hosting/[^/]+/', MAIN, TESTS] },
      to: { path: '^controller/hosting/[^/]+/' },
    },
    {
      name: 'kind-imports-kind',
      comment:
        'A kind of hosting can be added and removed without the others; what two need lies in controller/hosting/.',
      severity: 'error',
      from: { path: '^controller/hosting/([^/]+)/' },
      to: { path: '^controller/hosting/[^/]+/', pathNot: '^controller/hosting/$1/' },
    },
    {
      name: 'use-case-imports-edge',
      comment: 'edge -> use cases -> ports: what lies inward does not know how it is called.',
      severity: 'error',
      from: { path: '^controller/', pathNot: ['^controller/(edge|compose)/', MAIN] },
      to: { path: '^controller/edge/' },
    },
    {
      name: 'only-edges-word-advice',
      comment: 'Advice is data (shared/advice/advice.ts) until an edge answers people or writes down what they read.',
      severity: 'error',
      from: {
        pathNot: ['^(cli|gateway)/', '^controller/(edge|compose)/', '^controller/main[.]ts$', '^shared/rpc/', TESTS],
      },
      to: { path: '^shared/advice/command-words[.]ts$' },
    },
    {
      name: 'service-imports-service',
      comment:
        'A service is found in one place, and changed without the others: what several answer with is in edge/shapes.ts.',
      severity: 'error',
      from: { path: '^controller/edge/services/([^/.]+)' },
      to: { path: '^controller/edge/services/', pathNot: '^controller/edge/services/$1([.]ts$|/)' },
    },
    {
      name: 'edge-imports-service',
      comment: 'The server, admission and checks serve any service; controller/compose/services.ts lists them.',
      severity: 'error',
      from: { path: '^controller/edge/[^/]+[.]ts$' },
      to: { path: '^controller/edge/services/' },
    },
    {
      name: 'only-app-opens-doors',
      comment: 'What lies behind the doors serves any of them, and so knows none.',
      severity: 'error',
      from: { path: '^gateway/', pathNot: ['^gateway/doors/', '^gateway/app[.]ts$', MAIN] },
      to: { path: '^gateway/doors/' },
    },
    {
      name: 'door-imports-door',
      comment: 'What two doors need lies in gateway/http, or behind them.',
      severity: 'error',
      from: { path: '^gateway/doors/([^/]+)/' },
      to: { path: '^gateway/doors/', pathNot: '^gateway/doors/$1/' },
    },
    {
      name: 'behind-the-doors',
      comment: 'Transfers and the controller’s client serve a door of any protocol.',
      severity: 'error',
      from: { path: '^gateway/(transfer|controller)/' },
      to: { path: '^gateway/http/' },
    },
    {
      name: 'transfer-knows-no-protocol',
      comment:
        'The transfer core moves bytes for an identity: how the bytes and the identity came is a matter of the door.',
      severity: 'error',
      from: { path: '^gateway/transfer/' },
      to: { path: 'node_modules/(koa|koa-[a-z]+|@koa|co-body|busboy|jsonwebtoken|jose)/', reachable: true },
    },
    {
      name: 'cli-layer-imports-command',
      comment: 'Only the tree of words knows the commands; the layer under them serves any.',
      severity: 'error',
      from: { path: '^cli/(runner|connect|terminal|local)/', pathNot: '^cli/runner/command-tree[.]ts$' },
      to: { path: '^cli/(node|file|fs|lambda|image|user|cluster|state|session)/' },
    },
    {
      name: 'agent-stays-small',
      comment: 'One agent runs in every node: each of these packages would cost it megabytes.',
      severity: 'error',
      from: { path: '^agent/main[.]ts$' },
      to: { path: 'node_modules/(@grpc|zod|pino|typeorm|yaml|citty)/', reachable: true },
    },
    {
      name: 'cli-stays-light',
      comment: 'The command line is one bundle without native add-ons, and never opens the store.',
      severity: 'error',
      from: { path: '^cli/' },
      to: { path: 'node_modules/(typeorm|better-sqlite3|pg|node-pty|pino)/' },
    },
    {
      name: 'no-circular',
      comment:
        'Files of a circle can only be understood together; and where it is not of types alone, they load in an order by luck.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'not-resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-dependency-in-production',
      severity: 'error',
      from: { pathNot: [TESTS, '^deploy/'] },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Imports of types cross boundaries as much as imports of code.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: `${__dirname}/tsconfig.json` },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
