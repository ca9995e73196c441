/**
 * Applies the rules of .dependency-cruiser.cjs to the sources, and fails too when fewer modules were seen than there
 * are source files: a check that looks at nothing finds nothing.
 *
 *   node deploy/check-boundaries.mjs [FOLDER...]   a FOLDER holds the top folders; default: this project
 */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';

const project = dirname(dirname(fileURLToPath(import.meta.url)));
const roots = process.argv.length > 2 ? process.argv.slice(2).map((folder) => resolve(folder)) : [project];
const TOP_FOLDERS = ['shared', 'controller', 'agent', 'gateway', 'cli', 'test'];
const rules = createRequire(import.meta.url)(join(project, '.dependency-cruiser.cjs'));

function sourceFiles(root, folder) {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.ts'));
  return files.map((file) => relative(root, join(file.parentPath, file.name)));
}

const { options, ...ruleSet } = rules;
const tsConfig = extractTSConfig(join(project, 'tsconfig.json'));

const describe = ({ rule, from, to, cycle }) =>
  `${rule.name}: ${from} -> ${cycle === undefined ? to : cycle.map((step) => step.name).join(' -> ')}`;

async function check(root) {
  process.chdir(root);
  const folders = TOP_FOLDERS.filter((folder) => existsSync(join(root, folder)));
  const expected = folders.flatMap((folder) => sourceFiles(root, folder));
  const { output } = await cruise(folders, { ...options, ruleSet, validate: true }, {}, { tsConfig });
  const seen = new Set(output.modules.map((module) => module.source));
  const unseen = expected.filter((file) => !seen.has(file));
  const violations = output.summary.violations.filter((violation) => violation.rule.severity === 'error');

  const problems = violations.map(describe);
  if (expected.length === 0) problems.push(`there are no sources under ${root}`);
  if (unseen.length > 0)
    problems.push(`${unseen.length} of ${expected.length} sources were not seen: ${unseen[0]} ...`);
  if (problems.length > 0) {
    process.stderr.write(`${problems.join('\n')}\n${problems.length} boundary problems\n`);
    process.exitCode = 1;
  } else {
    process.stdout.write(`boundaries hold in ${expected.length} sources\n`);
  }
}

for (const root of roots) await check(root);
