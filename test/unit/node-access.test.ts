/** Nodes of users: who may manage which, and how many one may have. */
import { expect } from 'chai';
import type { NodeRegistry } from '../../controller/node/registry.js';
import type { Caller } from '../../controller/edge/admission.js';
import { NodeAccess } from '../../controller/node/access.js';
import type { NodeRecord } from '../../controller/store/port/store.js';
import { NexusError } from '../../shared/errors.js';
import { codeOf } from '../support/codes.js';

const user = (name: string): Caller => ({ user: name, isAdministrator: false });
const ADMINISTRATOR: Caller = { user: 'root-ann', isAdministrator: true };

class Nodes {
  readonly records: NodeRecord[] = [];
  readonly registry = {
    list: () => this.records,
    resolve: (name: string) => {
      const found = this.records.find((node) => node.name === name);
      if (found === undefined) throw new NexusError('not_found', `there is no node "${name}"`);
      return found;
    },
  } as unknown as NodeRegistry;

  constructor(readonly perUser: number) {}

  readonly access = (): NodeAccess => new NodeAccess(this.registry, this.perUser);

  /** Takes a moment, as the real one does between its check and its record. */
  create = async (access: NodeAccess, caller: Caller, name: string, labels = {}): Promise<void> => {
    await access.creating(caller, labels, async (given) => {
      await new Promise((resolve) => setImmediate(resolve));
      this.records.push({ name, labels: given } as unknown as NodeRecord);
    });
  };
}

describe('nodes of users', () => {
  it('are nobody’s but administrators’ unless the setting says otherwise', async () => {
    const nodes = new Nodes(0);
    const access = nodes.access();
    expect(await codeOf(() => nodes.create(access, user('alice'), 'a'))).to.equal('permission_denied');
    await nodes.create(access, ADMINISTRATOR, 'web', { owner: 'alice' });
    expect(await codeOf(() => access.managed(user('alice'), 'web'))).to.equal('permission_denied');
    // Without a right to any, not even whether it exists.
    expect(await codeOf(() => access.managed(user('alice'), 'none'))).to.equal('permission_denied');
    expect(access.managed(ADMINISTRATOR, 'web')).to.include({ name: 'web' });
  });

  it('are as many as the setting allows, also when they are asked for at once', async () => {
    const nodes = new Nodes(2);
    const access = nodes.access();
    const asked = ['a', 'b', 'c', 'd'].map((name) => codeOf(() => nodes.create(access, user('alice'), name)));
    expect((await Promise.all(asked)).sort()).to.deep.equal([
      'accepted',
      'accepted',
      'resource_exhausted',
      'resource_exhausted',
    ]);
    await nodes.create(access, user('bob'), 'of-bob');
    nodes.records.shift();
    await nodes.create(access, user('alice'), 'again');
    expect(await codeOf(() => nodes.create(access, user('alice'), 'more'))).to.equal('resource_exhausted');
    for (let at = 0; at < 5; at += 1) await nodes.create(access, ADMINISTRATOR, `admin-${at}`);
  });

  it('give their place back when a creation fails', async () => {
    const nodes = new Nodes(1);
    const access = nodes.access();
    const failing = () => access.creating(user('alice'), {}, () => Promise.reject(new NexusError('internal', 'no')));
    expect(await codeOf(failing)).to.equal('internal');
    await nodes.create(access, user('alice'), 'a');
  });

  it('carry their owner’s name, which a user can neither choose nor forge', async () => {
    const nodes = new Nodes(1);
    const access = nodes.access();
    await nodes.create(access, user('alice'), 'a', { owner: 'bob', tier: 'x' });
    expect(nodes.records[0]?.labels).to.deep.equal({ owner: 'alice', tier: 'x' });
    expect(access.managed(user('alice'), 'a')).to.include({ name: 'a' });
    expect(await codeOf(() => access.managed(user('bob'), 'a'))).to.equal('permission_denied');
  });

  it('go with files on them only by an administrator’s word', async () => {
    const nodes = new Nodes(1);
    const access = nodes.access();
    await nodes.create(access, user('alice'), 'a');
    expect(access.removable(user('alice'), 'a', false)).to.include({ name: 'a' });
    expect(await codeOf(() => access.removable(user('alice'), 'a', true))).to.equal('permission_denied');
    expect(access.removable(ADMINISTRATOR, 'a', true)).to.include({ name: 'a' });
  });
});
