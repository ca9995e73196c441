/**
 * Runs a process's bundle once and writes the bytecode of all functions that were used meanwhile beside it. Its flags for
 * Node have to be those of whoever starts the process: V8 takes bytecode only for the same ones.
 *
 *   node FLAG... deploy/bytecode.cjs BUNDLE TARGET ARGUMENT...
 *
 * It ends by itself with these arguments, or in what the module REHEARSAL of the environment makes before.
 */
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { dirname } = require('node:path');
const { constants, Script } = require('node:vm');

const [, , bundle, target, ...words] = process.argv;
const script = new Script(readFileSync(bundle, 'latin1'), {
  filename: bundle,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
// V8 would reject bytecode that was made with the flags that a process sets when it has started.
require('node:v8').setFlagsFromString = () => undefined;
process.on('exit', () => writeFileSync(target, script.createCachedData()));
process.argv.splice(1, process.argv.length, bundle, ...words);
const { REHEARSAL: rehearsal } = process.env;
const ready = rehearsal === undefined ? undefined : require(rehearsal)();
const run = () => script.runInThisContext()(createRequire(bundle), bundle, dirname(bundle));
if (ready === undefined) run();
else void ready.then(run);
