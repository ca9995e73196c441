/**
 * Runs a process's bundle once and writes the bytecode of all functions that were used meanwhile beside it. Its flags for
 * Node have to be those of whoever starts the process: V8 takes bytecode only for the same ones.
 *
 *   node FLAG... deploy/bytecode.cjs BUNDLE TARGET ARGUMENT...
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
// With these arguments it ends by itself.
process.on('exit', () => writeFileSync(target, script.createCachedData()));
process.argv.splice(1, process.argv.length, bundle, ...words);
script.runInThisContext()(createRequire(bundle), bundle, dirname(bundle));
