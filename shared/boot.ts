/**
 * Where the built command line, controller and gateway begin: runs their bundle with the bytecode that the build made of it
 * (deploy/build.mjs), which spares a third to two thirds of the processor time of a start. V8 rejects bytecode that was
 * made with other flags than those of the start; the bundle is then compiled as usual. V8 does not compare contents: both
 * files carry the contents' hash in their names.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, Script } from 'node:vm';
import { keepYoungGeneration } from './young-generation.js';

/** The bundle's file name, set by the build. */
declare const BUNDLE: string;

/** Whether the process is to stay small at the price of more frequent collections, set by the build. */
declare const IS_SMALL: boolean;

type Bundle = (require: NodeJS.Require, filename: string, dirname: string) => void;

const path = fileURLToPath(new URL(BUNDLE, import.meta.url));
const script = new Script(readFileSync(path, 'latin1'), {
  filename: path,
  cachedData: bytecode(),
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
(script.runInThisContext() as Bundle)(createRequire(path), path, dirname(path));
if (IS_SMALL) keepYoungGeneration();

function bytecode(): Buffer | undefined {
  try {
    return readFileSync(`${path}.${process.version}`);
  } catch {
    return undefined;
  }
}
