/**
 * The architecture check must be able to fail: for each kind of rule, and when it sees nothing. What it is made of takes
 * seconds to load: it checks the folders that break rules one after another, and reports of each.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { tryCommand, type CommandResult } from '../../shared/exec.js';

const CHECK = join(import.meta.dirname, '../../deploy/check-boundaries.mjs');

/** Half a minute on a machine that is busy many times over. */
const TIMEOUT_MS = 120_000;

describe('boundary check', function () {
  this.timeout(2 * TIMEOUT_MS);
  const folders: string[] = [];
  const broken: Readonly<Record<string, string>>[] = [];
  let reports: string[] = [];
  after(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  const folderOf = (files: Readonly<Record<string, string>>): string => {
    const root = mkdtempSync(join(tmpdir(), 'nexus-boundaries-'));
    folders.push(root);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return root;
  };
  const check = async (...trees: Readonly<Record<string, string>>[]): Promise<CommandResult> =>
    await tryCommand(process.execPath, [CHECK, ...trees.map(folderOf)], { timeoutMs: TIMEOUT_MS });
  /** What the check says of the files, once it has been run on all that break rules. */
  const reportOf = (files: Readonly<Record<string, string>>): (() => string) => {
    const at = broken.push(files) - 1;
    return () => reports[at] ?? '';
  };
  before(async () => {
    const { exitCode, stderr } = await check(...broken);
    expect(exitCode, stderr).to.equal(1);
    reports = stderr.split(/^\d+ boundary problems\n/m);
    expect(reports.pop(), 'each report has its end').to.equal('');
    expect(reports).to.have.length(broken.length);
  });

  it('passes where every import keeps to the rules', async () => {
    const result = await check({
      'shared/ids.ts': 'export const id = 1;\n',
      'controller/hosting/contained/bridge.ts':
        "import { id } from '../../../shared/ids.js';\nexport const bridge = id;\n",
      'controller/main.ts': "import { bridge } from './hosting/contained/bridge.js';\nexport const all = bridge;\n",
    });
    expect(result.stderr).to.equal('');
    expect(result.exitCode).to.equal(0);
    expect(result.stdout).to.contain('3 sources');
  });

  const crossed = reportOf({
    'shared/ids.ts': "import { agent } from '../agent/main.js';\nexport const id = agent;\n",
    'agent/main.ts': 'export const agent = 1;\n',
    'controller/hosting/contained/bridge.ts': 'export const bridge = 1;\n',
    'controller/node/life/create.ts':
      "import { bridge } from '../../hosting/contained/bridge.js';\nimport { agent } from '../../../agent/main.js';\nexport const x = bridge + agent;\n",
    'cli/a.ts': "import { b } from './b.js';\nexport const a = (): number => b();\n",
    'cli/b.ts': "import { a } from './a.js';\nexport const b = (): number => a();\n",
    'cli/c.ts': "export { nothing } from './gone.js';\n",
  });
  it('fails, naming each, when boundaries are crossed', () => {
    const names = new Set(
      crossed()
        .split('\n')
        .map((line) => line.split(':')[0]),
    );
    expect(names).to.include.all.keys(
      'shared-imports-process',
      'only-main-names-adapters',
      'process-imports-process',
      'no-circular',
      'not-resolvable',
    );
  });

  const doors = reportOf({
    'gateway/app.ts': "import { rest } from './doors/rest/app.js';\nexport const app = rest;\n",
    'gateway/doors/rest/app.ts': "import { grpc } from '../grpc/edge.js';\nexport const rest = grpc;\n",
    'gateway/doors/grpc/edge.ts': 'export const grpc = 1;\n',
    'gateway/http/input.ts': "import { grpc } from '../doors/grpc/edge.js';\nexport const input = grpc;\n",
    'gateway/transfer/receive.ts':
      "import { input } from '../http/input.js';\nimport { part } from './part.js';\nexport const file = input + part;\n",
    'gateway/transfer/part.ts': "import koa from 'koa';\nexport const part = koa;\n",
    'node_modules/koa/package.json': '{"name": "koa", "main": "index.js"}',
    'node_modules/koa/index.js': 'module.exports = 1;\n',
  });
  it('keeps the gateway’s doors apart, and what lies behind them free of any', () => {
    const stderr = doors();
    expect(stderr).to.contain('door-imports-door: gateway/doors/rest/app.ts -> gateway/doors/grpc/edge.ts');
    expect(stderr).to.contain('only-app-opens-doors: gateway/http/input.ts -> gateway/doors/grpc/edge.ts');
    expect(stderr).to.contain('behind-the-doors: gateway/transfer/receive.ts -> gateway/http/input.ts');
    expect(stderr).to.contain('transfer-knows-no-protocol: gateway/transfer/receive.ts');
    expect(stderr).not.to.contain('gateway/app.ts ->');
  });

  const edge = reportOf({
    'controller/edge/handlers.ts': 'export const unary = 1;\n',
    'controller/edge/server.ts': "import { file } from './services/file.js';\nexport const server = file;\n",
    'controller/edge/services/file.ts': "import { unary } from '../handlers.js';\nexport const file = unary;\n",
    'controller/edge/services/fs.ts': "import { file } from './file.js';\nexport const fs = file;\n",
    'controller/edge/services/node/schemas.ts': 'export const schema = 1;\n',
    'controller/edge/services/node/handlers.ts':
      "import { schema } from './schemas.js';\nexport const node = schema;\n",
    'controller/vfs/path.ts':
      "import type { file } from '../edge/services/file.js';\nexport type Path = typeof file;\n",
  });
  it('fails when a service of the edge imports another one, or a use case imports the edge', () => {
    const problems = edge()
      .split('\n')
      .filter((line) => line.includes(' -> '));
    expect(problems.sort()).to.deep.equal([
      'edge-imports-service: controller/edge/server.ts -> controller/edge/services/file.ts',
      'service-imports-service: controller/edge/services/fs.ts -> controller/edge/services/file.ts',
      'use-case-imports-edge: controller/vfs/path.ts -> controller/edge/services/file.ts',
    ]);
  });

  const kinds = reportOf({
    'controller/hosting/port.ts': 'export const port = 1;\n',
    'controller/hosting/contained/bundle.ts': "import { port } from '../port.js';\nexport const bundle = port;\n",
    'controller/hosting/contained/profile.ts': "import { bundle } from './bundle.js';\nexport const one = bundle;\n",
    'controller/hosting/process/folder.ts':
      "import { bundle } from '../contained/bundle.js';\nexport const folder = bundle;\n",
    'controller/hosting/profiles.ts': "import { one } from './contained/profile.js';\nexport const all = [one];\n",
    'controller/image/images.ts':
      "import { bundle } from '../hosting/contained/bundle.js';\nexport const images = bundle;\n",
  });
  it('keeps kinds of hosting apart, and what they are made of to their profiles', () => {
    const problems = kinds()
      .split('\n')
      .filter((line) => line.includes(' -> '));
    expect(problems.map((line) => line.split(' -> ')[0]).sort()).to.deep.equal([
      'kind-imports-kind: controller/hosting/process/folder.ts',
      'only-profiles-name-kinds: controller/image/images.ts',
    ]);
  });

  const types = reportOf({
    'gateway/main.ts': "import type { Agent } from '../agent/main.js';\nexport const x: Agent = 1;\n",
    'agent/main.ts': 'export type Agent = number;\n',
  });
  it('fails when types alone cross a boundary', () => {
    expect(types()).to.contain('process-imports-process: gateway/main.ts -> agent/main.ts');
  });

  it('fails when it sees no sources', async () => {
    const result = await check({});
    expect(result.exitCode).to.equal(1);
    expect(result.stderr).to.contain('there are no sources');
  });
});
