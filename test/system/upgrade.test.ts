/** A cluster of version 0.1.0, with its database as that version wrote it, is taken over while its nodes run on. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import Sqlite from 'better-sqlite3';
import type { NodeJson } from '../support/cluster.js';
import { takeBack } from '../support/earlier-version.js';
import { describeWithCluster } from '../support/system.js';

describeWithCluster('a cluster of an earlier version', {}, (cluster) => {
  const nodes = (): Promise<NodeJson[]> => cluster().json<NodeJson[]>('node', 'ls');

  it('keeps its running nodes, what they hold and what was stopped', async () => {
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--mem', '64', '--storage', '64M');
    await cluster().ok('node', 'exec', 'a', '--', 'sh', '-c', 'echo kept > /root/note; sync');
    const content = randomBytes(3_000_000);
    const sent = await cluster().runWith({ input: content }, 'fs', 'upload', '-', '/data.bin');
    expect(sent.code, sent.stderr).to.equal(0);
    await cluster().ok('node', 'stop', 'c');
    const before = await nodes();
    await cluster().killController();

    const database = join(cluster().stateDir, 'nexus.db');
    takeBack(database);
    const columns = new Sqlite(database, { readonly: true });
    expect(columns.pragma('table_info(nodes)')).to.deep.include.members([
      { cid: 14, name: 'loop_device', type: 'INTEGER', notnull: 1, dflt_value: null, pk: 0 },
    ]);
    columns.close();

    await cluster().startController();
    const after = await nodes();
    const facts = (list: readonly NodeJson[]): unknown =>
      list.map(({ id, name, status, ip, pid, slot }) => ({ id, name, status, ip, pid, slot }));
    expect(facts(after), 'adopted, with the same processes').to.deep.equal(facts(before));
    expect(await cluster().ok('node', 'exec', 'a', '--', 'cat', '/root/note')).to.equal('kept\n');
    await cluster().ok('fs', 'download', '/data.bin', join(cluster().folder, 'data.bin'));
    const digest = (data: Buffer): string => createHash('md5').update(data).digest('hex');
    expect(digest(readFileSync(join(cluster().folder, 'data.bin')))).to.equal(digest(content));
    // The volume that was made before is found by its UUID.
    await cluster().ok('node', 'start', 'c');
    await cluster().ok('node', 'restart', 'a');
    expect(await cluster().ok('node', 'exec', 'a', '--', 'cat', '/root/note')).to.equal('kept\n');
  });
});
