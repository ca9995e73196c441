/** Claims of the host's user ids by nodes of several instances, in a folder of the test. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { IDS_OF_RANGE } from '../../controller/hosting/contained/bundle.js';
import { IdRanges } from '../../controller/hosting/contained/id-ranges.js';
import { tryCommand } from '../../shared/exec.js';
import type { NodeId } from '../../shared/ids.js';
import { codeOf } from '../support/codes.js';

const FIRST_ID = 0x7000_0000;
const RANGES = 4096;
const RACER = join(import.meta.dirname, '..', 'support', 'id-racer.ts');

describe('ranges of user ids', () => {
  let folder: string;
  let claims: string;
  const instance = (name: string): string => join(folder, name);
  const rangesOf = (name: string): IdRanges => new IdRanges(claims, instance(name));
  /** Nodes whose ids begin alike begin to look at the same range. */
  const nodeIn = async (name: string, id: string): Promise<NodeId> => {
    await mkdir(join(instance(name), id), { recursive: true });
    return id as NodeId;
  };

  beforeEach(async () => {
    // As /run is: in memory. Thousands of links come and go here.
    folder = await mkdtemp('/dev/shm/nexus-ids-');
    claims = join(folder, 'ids');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('are one for each node, also of several instances, and the same again for who has one', async () => {
    const [one, other] = [await nodeIn('x', '000007aaaaaa'), await nodeIn('y', '000007bbbbbb')];
    const first = await rangesOf('x').claim(one, undefined);
    expect(first).to.equal(FIRST_ID + 7 * IDS_OF_RANGE);
    expect(await rangesOf('y').claim(other, undefined)).to.equal(first + IDS_OF_RANGE);
    expect(await rangesOf('x').claim(one, undefined)).to.equal(first);
    expect(await rangesOf('x').claim(one, first)).to.equal(first);
    const nodes = await Promise.all(Array.from({ length: 20 }, (_, at) => nodeIn('x', `000007c000${at + 10}`)));
    const many = await Promise.all(nodes.map((node) => rangesOf('x').claim(node, undefined)));
    expect(new Set([...many, first, first + IDS_OF_RANGE]).size).to.equal(22);
  });

  it('are wanted again by a node that stopped, which gets another one where that is taken', async () => {
    const [one, other] = [await nodeIn('x', '000007aaaaaa'), await nodeIn('y', '000007bbbbbb')];
    const wanted = FIRST_ID + 9 * IDS_OF_RANGE;
    expect(await rangesOf('x').claim(one, wanted)).to.equal(wanted);
    expect(await rangesOf('y').claim(other, wanted)).to.equal(wanted + IDS_OF_RANGE);
  });

  it('are free once released, again and again; nobody releases those of others', async () => {
    const [one, other] = [await nodeIn('x', '000007aaaaaa'), await nodeIn('y', '000007bbbbbb')];
    const ranges = rangesOf('x');
    await ranges.claim(one, undefined);
    await rangesOf('y').release(other);
    await rangesOf('y').release(one);
    expect(await readdir(claims)).to.deep.equal(['7']);
    await ranges.release(one);
    expect(existsSync(claims), 'the folder goes with the last').to.equal(false);
    await ranges.release(one);
    await ranges.claim(one, undefined);
    await rangesOf('x').release(one);
    expect(existsSync(claims)).to.equal(false);
  });

  it('whose node has gone are free for its own instance alone', async () => {
    const [one, other] = [await nodeIn('x', '000007aaaaaa'), await nodeIn('y', '000007bbbbbb')];
    const first = await rangesOf('x').claim(one, undefined);
    await rm(join(instance('x'), one), { recursive: true });
    await rangesOf('y').sweep();
    expect(await rangesOf('y').claim(other, first)).to.equal(first + IDS_OF_RANGE);
    const next = await nodeIn('x', '000007cccccc');
    expect(await rangesOf('x').claim(next, first)).to.equal(first);
    await rm(join(instance('x'), next), { recursive: true });
    await rangesOf('x').sweep();
    expect(await readdir(claims)).to.deep.equal(['8']);
  });

  it('of nodes that have gone go to one node each, however many want them at once', async () => {
    const gone = await Promise.all(Array.from({ length: 16 }, (_, at) => nodeIn('x', `000007d000${at + 10}`)));
    for (const node of gone) await rangesOf('x').claim(node, undefined);
    for (const node of gone) await rm(join(instance('x'), node), { recursive: true });
    const ranges = rangesOf('x');
    const nodes = await Promise.all(Array.from({ length: 16 }, (_, at) => nodeIn('x', `000007e000${at + 10}`)));
    const all = await Promise.all(nodes.map((node) => ranges.claim(node, undefined)));
    expect(new Set(all).size).to.equal(16);
    expect(await readdir(claims)).to.have.length(16);
  });

  it('that a start claimed and did not record are released with the node, or when it claims another one', async () => {
    const [one, other] = [await nodeIn('x', '000007aaaaaa'), await nodeIn('y', '000007bbbbbb')];
    const recorded = FIRST_ID + 9 * IDS_OF_RANGE;
    await rangesOf('y').claim(other, recorded);
    await rangesOf('x').claim(one, recorded);
    expect(await readdir(claims)).to.have.members(['9', '10']);
    await rangesOf('x').release(one);
    expect(await readdir(claims)).to.deep.equal(['9']);
    await rangesOf('x').claim(one, undefined);
    expect(await readdir(claims)).to.have.members(['7', '9']);
    await rangesOf('y').release(other);
    await rangesOf('x').claim(one, recorded);
    expect(await readdir(claims), 'one for each node').to.deep.equal(['9']);
  });

  it('are left alone where something that is no claim has the name', async () => {
    await mkdir(join(claims, '7'), { recursive: true });
    const one = await nodeIn('x', '000007aaaaaa');
    expect(await rangesOf('x').claim(one, undefined)).to.equal(FIRST_ID + 8 * IDS_OF_RANGE);
  });

  it('are never held by two, and never released by another, when controllers race', async () => {
    const args = (name: string): string[] => ['--import', 'tsx', RACER, claims, instance(name), join(folder, 'held')];
    await mkdir(join(folder, 'held'));
    const racers = ['x', 'y', 'z'].map((name) => tryCommand(process.execPath, args(name), { timeoutMs: 120_000 }));
    for (const { exitCode, stderr } of await Promise.all(racers)) expect([exitCode, stderr]).to.deep.equal([0, '']);
    expect(existsSync(claims), 'the folder goes with the last').to.equal(false);
  }).timeout(150_000);

  it('come to an end', async () => {
    await mkdir(claims);
    for (let range = 0; range < RANGES; range += 1) await symlink('/elsewhere', join(claims, String(range)));
    const node = await nodeIn('x', '000007aaaaaa');
    expect(await codeOf(() => rangesOf('x').claim(node, undefined))).to.equal('resource_exhausted');
  });
});
