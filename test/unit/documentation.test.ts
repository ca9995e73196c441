/** The documentation names sources; a file that is moved must not leave its old name there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { EVENT_TYPES } from '../../controller/events/types.js';
import { START_STEPS } from '../../controller/node/life/bring-up.js';
import { CREATE_STEPS, RESERVE_STEPS } from '../../controller/node/life/create.js';
import { namesOf } from '../../controller/node/life/steps.js';
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

  it('names the steps of a creation as they are called', () => {
    const text = readFileSync(join(PROJECT, 'docs/architecture.md'), 'utf8');
    const [, listed = ''] = /A creation takes ([^:]*):/.exec(text) ?? [];
    const names = [...namesOf(RESERVE_STEPS), ...namesOf(CREATE_STEPS), ...namesOf(START_STEPS)];
    expect([...listed.matchAll(/`([^`]*)`/g)].map(([, name]) => name)).to.deep.equal(names);
  });

  it('has a row for each type of event, and for no other', () => {
    const [, chapter = ''] = readFileSync(join(PROJECT, 'docs/cli.md'), 'utf8').split('\n## Events\n');
    const [table = ''] = chapter.split('\n## ');
    const listed = [...table.matchAll(/^\| (`[^|]*`) +\|/gm)].flatMap(([, cell = '']) =>
      cell.replaceAll('`', '').split(', '),
    );
    expect(listed.sort()).to.deep.equal([...EVENT_TYPES].sort());
  });
});
