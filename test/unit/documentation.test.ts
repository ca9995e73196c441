/** The documentation names sources; a file that is moved must not leave its old name there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { PROJECT } from '../support/cluster.js';

const NAMED = /`((?:shared|controller|agent|gateway|cli|test|deploy|proto)\/[A-Za-z0-9_./-]+)`/g;
const pages = (): string[] => [
  ...readdirSync(PROJECT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(PROJECT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

describe('the documentation', () => {
  it('names sources that are there', () => {
    const missing: string[] = [];
    let named = 0;
    for (const page of pages()) {
      for (const [, path = ''] of readFileSync(join(PROJECT, page), 'utf8').matchAll(NAMED)) {
        named += 1;
        const file = join(PROJECT, path);
        if (!existsSync(file) && !existsSync(`${file}.ts`)) missing.push(`${page}: ${path}`);
      }
    }
    expect(missing).to.deep.equal([]);
    expect(named).to.be.greaterThan(50);
  });
});
