/**
 * Makes dist/ from the sources: generated protobuf code, one bundle per process, the .proto files and the
 * description of them that reflection answers with, the log writer, and last of all a stamp. Whoever finds sources newer than the stamp builds again; a build
 * that fails leaves the old stamp, and so is tried again.
 *
 *   node deploy/build.mjs [--source-maps]
 */
import { execFile } from 'node:child_process';
import { access, cp, mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { constants, existsSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const sourceMaps = process.argv.includes('--source-maps');

/** The oldest Node that is supported: what is newer in the language (`await using`) is rewritten for it. */
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  treeShaking: true,
  legalComments: 'none',
  logLevel: 'silent',
  sourcemap: sourceMaps ? 'linked' : false,
  metafile: true,
  write: false,
};

/** The packages of the bus, bundled, with what they sign with replaced: see shared/bus/nacl.ts. */
const bundledBus = {
  name: 'bundled bus',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^tweetnacl$/ }, () => ({ path: join(root, 'shared/bus/nacl.ts') }));
    onResolve({ filter: /^@nats-io\// }, ({ path, resolveDir }) => ({
      path: createRequire(join(resolveDir, 'importer.js')).resolve(path),
    }));
  },
};

/** Packages that read files beside their own sources: bundled, they look where they are installed. */
const ownFiles = {
  name: 'own files',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\/node_modules\/(@grpc\/reflection|grpc-health-check)\/build\/.*\.js$/ }, async ({ path }) => {
      const [, name, file] = /\/node_modules\/(@grpc\/reflection|grpc-health-check)\/(.*)$/.exec(path);
      const folder = `require('node:path').join(require.resolve('${name}/package.json'), '..', '${dirname(file)}')`;
      return { contents: (await readFile(path, 'utf8')).replaceAll('__dirname', folder) };
    });
  },
};

/**
 * What reads ICU's tables of characters is made when text that is more than ASCII is printed, which few commands do: the
 * class of emoji alone takes a third of a command's start.
 */
const lateTables = {
  name: 'late tables',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\/node_modules\/string-width\/index\.js$/ }, async ({ path }) => {
      // cli-progress has an older one of its own, without any.
      if (path !== join(root, 'node_modules/string-width/index.js')) return undefined;
      let replaced = 0;
      const eager = /^const (\w+) = (new Intl\.Segmenter\(\)|\/.*\\p\{.*\/\w+);$/gm;
      const contents = (await readFile(path, 'utf8')).replace(eager, (_, name, value) => {
        replaced += 1;
        return `const ${name} = late(() => ${value});`;
      });
      if (replaced !== 5) throw new Error(`${path} makes its tables in another way than this plugin replaces`);
      return { contents: `${contents}\n${late}` };
    });
  },
};

/** Does what string-width asks of a segmenter and of regular expressions. */
const late = `function late(make) {
  let made;
  const its = (method) => (text) => (made ??= make())[method](text);
  return { segment: its('segment'), test: its('test'), [Symbol.search]: its(Symbol.search), [Symbol.match]: its(Symbol.match) };
}`;

/** A function for shared/boot.ts, which knows it by the hash of its contents. */
const booted = (name) => ({
  format: 'cjs',
  entryNames: `${name}-[hash]`,
  outExtension: { '.js': '.cjs' },
  banner: {
    js: `(function (require, __filename, __dirname) { 'use strict';
const nexusUrl = require('node:url').pathToFileURL(__filename).href;`,
  },
  footer: { js: '})' },
  define: { 'import.meta.url': 'nexusUrl' },
  // Native add-ons are never bundled, and the CLI must not need one. PostgreSQL's is not installed.
  external: ['better-sqlite3', 'node-pty', 'pg-native', 'swagger-ui-dist'],
  plugins: [bundledBus, ownFiles, lateTables],
});

/** As in controller/hosting/contained/bundle.ts. V8 takes the same bytecode without them. */
const AGENT_FLAGS = ['--v8-pool-size=0', '--single-threaded-gc'];

/**
 * One bundle per process, begun by `boot`. `warmUp` is what bytecode is made with: the flags for Node with which the process is started,
 * and arguments with which it ends by itself. A controller or a gateway that rejects a setting has loaded
 * every module by then; bytecode of the functions that only a complete start uses gained nothing, measured.
 */
const processes = [
  {
    name: 'agent',
    // Without packages of its own: it is bound into every node.
    options: { ...booted('agent'), external: [], plugins: [bundledBus] },
    // CommonJS: Node would load its loader of modules, which takes a tenth of the start.
    boot: 'agent.cjs',
    warmUp: { flags: AGENT_FLAGS, isSmall: false, words: [], rehearsal: 'deploy/agent-rehearsal.cjs' },
  },
  {
    name: 'controller',
    options: booted('controller'),
    warmUp: { flags: [], isSmall: true, words: ['--subnet', 'none'] },
  },
  {
    name: 'gateway',
    options: booted('gateway'),
    warmUp: { flags: ['--max-semi-space-size=4'], isSmall: false, words: ['--subnet', 'none'] },
  },
  {
    name: 'cli',
    options: booted('cli'),
    // A command that meets no cluster uses most of what each one needs.
    warmUp: { flags: [], isSmall: true, words: ['node', 'ls', '--local', '--instance', 'bytecode'] },
  },
];

async function filesBelow(folder, suffix) {
  if (!existsSync(folder)) return [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((e) => join(e.parentPath, e.name));
}

const modifiedMs = async (path) => (await stat(path)).mtimeMs;

/** Generated code is stale when a .proto has none, or when any .proto or the recipe is newer than the oldest of it. */
async function generatedIsStale(protoFiles, recipe, generated) {
  const expected = protoFiles.map((file) =>
    join(root, 'shared/gen', relative(join(root, 'proto'), file).replace(/\.proto$/, '.ts')),
  );
  if (expected.some((file) => !existsSync(file))) return true;
  const newestSource = Math.max(...(await Promise.all([...protoFiles, recipe].map(modifiedMs))));
  const oldestResult = Math.min(...(await Promise.all(generated.map(modifiedMs))));
  return newestSource > oldestResult;
}

async function generateProtobuf() {
  const recipe = join(root, 'proto/buf.gen.yaml');
  const protoFiles = await filesBelow(join(root, 'proto'), '.proto');
  const generated = await filesBelow(join(root, 'shared/gen'), '.ts');
  if (!(await generatedIsStale(protoFiles, recipe, generated))) return;
  await promisify(execFile)(join(root, 'node_modules/.bin/buf'), ['generate'], { cwd: join(root, 'proto') });
}

/** Written beside and renamed, so that a process that starts meanwhile reads either the old file or the new one. */
async function writeAtomically(path, contents) {
  const unchanged = await readFile(path).then(
    (old) => old.equals(contents),
    () => false,
  );
  if (unchanged) return;
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.new`;
  await writeFile(temporary, contents);
  await rename(temporary, path);
}

/** shared/boot.ts reads one byte as one character. esbuild escapes strings, but not regular expressions. */
const asciiOf = (text) =>
  text.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

async function bundle({ name, options, warmUp, boot = 'main.js' }) {
  const entry = join(root, name, 'main.ts');
  // A process that is not written yet has no bundle.
  if (!existsSync(entry)) return;
  const outdir = join(dist, name);
  const result = await build({ ...common, ...options, entryPoints: [entry], outdir });
  const outputs = result.outputFiles ?? [];
  for (const { path, contents, text } of outputs)
    await writeAtomically(path, path.endsWith('.cjs') ? Buffer.from(asciiOf(text)) : Buffer.from(contents));
  const begins = await bootstrap(join(outdir, boot), outputs, warmUp);
  const wanted = new Set([...outputs.map((output) => output.path), ...begins]);
  const present = existsSync(outdir) ? await readdir(outdir, { recursive: true, withFileTypes: true }) : [];
  const stale = present.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  await Promise.all(stale.filter((path) => !wanted.has(path)).map((path) => rm(path, { force: true })));
}

/** What the bundle begins with, and its bytecode. */
async function bootstrap(boot, outputs, { flags, words, isSmall, rehearsal }) {
  const { path: program } = outputs.find((output) => output.path.endsWith('.cjs'));
  const bytecode = `${program}.${process.version}`;
  if (!existsSync(bytecode)) {
    const temporary = `${bytecode}.${process.pid}.new`;
    const line = [...flags, join(root, 'deploy/bytecode.cjs'), program, temporary, ...words];
    const env = { PATH: process.env.PATH, HOME: '/nonexistent' };
    if (rehearsal !== undefined) env.REHEARSAL = join(root, rehearsal);
    const { stderr } = await promisify(execFile)(process.execPath, line, { env, timeout: 60_000 }).catch(
      (error) => error,
    );
    if (!existsSync(temporary)) throw Object.assign(new Error(), { stderr: `no bytecode was made: ${stderr}` });
    await rename(temporary, bytecode);
  }
  const constants = { BUNDLE: JSON.stringify(`./${basename(program)}`), IS_SMALL: JSON.stringify(isSmall) };
  const { banner, define } = booted('boot');
  const kind = boot.endsWith('.cjs')
    ? { format: 'cjs', banner: { js: banner.js.split('\n').at(-1) }, define: { ...define, ...constants } }
    : { format: 'esm', define: constants };
  const entryPoints = [join(root, 'shared/boot.ts')];
  const { outputFiles } = await build({ ...common, ...kind, sourcemap: false, entryPoints, outfile: boot });
  for (const output of outputFiles) await writeAtomically(output.path, Buffer.from(output.contents));
  return [bytecode, ...outputFiles.map((output) => output.path)];
}

async function copyProto() {
  await mkdir(dist, { recursive: true });
  await cp(join(root, 'proto'), join(dist, 'proto'), {
    recursive: true,
    filter: async (source) => (await stat(source)).isDirectory() || source.endsWith('.proto'),
  });
}

/** Of each file as it is written. What proto-loader makes for reflection is merged by package, and clients refuse it. */
async function describeProto() {
  const path = join(dist, 'proto/nexus.binpb');
  const sources = await filesBelow(join(root, 'proto'), '.proto');
  const newest = Math.max(...(await Promise.all(sources.map(modifiedMs))));
  if (existsSync(path) && (await modifiedMs(path)) > newest) return;
  const { stdout } = await promisify(execFile)(
    join(root, 'node_modules/.bin/buf'),
    ['build', 'proto', '--as-file-descriptor-set', '--output', '-#format=binpb'],
    { cwd: root, encoding: 'buffer', maxBuffer: 16 * 1024 * 1024 },
  );
  await writeAtomically(path, stdout);
  await utimes(path, new Date(), new Date());
}

/** What runs inside a sandbox is Python and shell: read from files at run time. */
async function copySandboxProgram() {
  const target = join(dist, 'sandbox');
  await rm(target, { recursive: true, force: true });
  await cp(join(root, 'controller/lambda/sandbox/program'), target, { recursive: true });
}

/**
 * Programs in C, see their sources. Linked statically where that is possible: one writes the logs of each node, and is a
 * third of the size; the others start before anything of a node, and where a node has no library. Only a controller needs them, so that a host without a
 * compiler is no failure here: bootstrap.sh brings one in, and a controller without them does not start.
 */
const C_PROGRAMS = {
  'log-writer': ['controller/log/log-writer.c'],
  'node-init': ['controller/hosting/contained/node-init.c'],
  'volume-sync': ['controller/hosting/contained/volume-sync.c'],
  'node-stage': ['node-stage.c', 'node-volume.c', 'take-over.c', 'node-stage.h'].map(
    (name) => `controller/hosting/contained/${name}`,
  ),
};

async function compileC(name) {
  const sources = C_PROGRAMS[name].map((path) => join(root, path));
  const program = join(dist, name);
  const newest = Math.max(...(await Promise.all(sources.map(modifiedMs))));
  const isCurrent = existsSync(program) && (await modifiedMs(program)) >= newest;
  if (isCurrent || !(await hasCompiler())) return;
  await mkdir(dist, { recursive: true });
  const temporary = `${program}.${process.pid}.new`;
  const units = sources.filter((path) => path.endsWith('.c'));
  const compile = (...linking) =>
    promisify(execFile)('cc', ['-std=gnu17', '-O2', '-Wall', '-Wextra', ...linking, '-s', '-o', temporary, ...units]);
  try {
    await compile('-static').catch(() => compile());
    await rename(temporary, program);
  } finally {
    await rm(temporary, { force: true });
  }
}

const hasCompiler = () =>
  promisify(execFile)('cc', ['--version']).then(
    () => true,
    () => false,
  );

/**
 * What nodes run is a copy that deploy/agent-runtime.sh made; without this it would stay the agent of an hour ago. Where
 * root made it and somebody else builds, the set-up at the next start brings it up to date.
 */
async function renewRuntime() {
  const runtime = join(dist, 'runtime');
  const mayWrite = await access(runtime, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!mayWrite || !existsSync(join(runtime, 'agent.cjs'))) return;
  // Last the one that names the others.
  const names = (await readdir(join(dist, 'agent'))).sort(
    (one, other) => (one === 'agent.cjs') - (other === 'agent.cjs'),
  );
  for (const name of names) await writeAtomically(join(runtime, name), await readFile(join(dist, 'agent', name)));
}

/** Dated with the start of the bundling: what is edited while the build runs counts as newer. */
async function stamp(startedAt) {
  const path = join(dist, '.build-stamp');
  await writeFile(path, `${startedAt.toISOString()}\n`);
  await utimes(path, startedAt, startedAt);
}

/** esbuild's and buf's own messages say where; a stack of this file would hide them. */
function describe(error) {
  const located = error.errors?.map((e) => `${e.location?.file ?? ''}:${e.location?.line ?? ''}: ${e.text}`);
  return located?.join('\n') ?? (error.stderr || error.stack);
}

try {
  await generateProtobuf();
  const startedAt = new Date();
  // Each to its end: a mistake in one process leaves the others usable.
  const results = await Promise.allSettled([
    ...processes.map(bundle),
    copyProto(),
    describeProto(),
    copySandboxProgram(),
    ...Object.keys(C_PROGRAMS).map(compileC),
  ]);
  const failures = results.filter((result) => result.status === 'rejected').map((result) => result.reason);
  if (failures.length > 0) throw Object.assign(new Error(), { stderr: failures.map(describe).join('\n') });
  await renewRuntime();
  await stamp(startedAt);
} catch (error) {
  process.stderr.write(`build failed:\n${describe(error)}\n`);
  process.exitCode = 1;
}
