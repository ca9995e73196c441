/** The end of a cluster while something else is going on in it. */
import { expect } from 'chai';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, type NodeJson } from '../support/cluster.js';
import { residueOf } from '../support/residue.js';
import { describeWithCluster } from '../support/system.js';

/** A range that no instance of this machine has. */
function claim(owner: string): void {
  for (let range = 4095; ; range -= 1) {
    try {
      symlinkSync(owner, `/run/nexus.ids/${range}`);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

// The suite's own end is the purge, and looks for what is left.
describeWithCluster('a purge', {}, (cluster) => {
  it('releases ids that a controller claimed which was killed before it could say for whom', async () => {
    const { runDir } = cluster();
    await cluster().ok('node', 'create', 'z', '--mem', '64', '--storage', '64M');
    // One with and one without a folder; no node of the instance has these names.
    mkdirSync(join(runDir, 'eeeeeeeeeeee'));
    for (const name of ['eeeeeeeeeeee', 'ffffffffffff']) claim(join(runDir, name));
    await cluster().ok('down', '--purge');
    await cluster().controllerEnd();
    expect(residueOf(cluster().instance).filter((line) => line.includes('claim'))).to.deep.equal([]);
    await cluster().ok('up');
  });

  it('takes nodes for removed whose creation is undone while it waits for its turn', async () => {
    const interrupted = new AbortController();
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const creations = names.map((name) =>
      cluster()
        .runWith({ signal: interrupted.signal }, 'node', 'create', name, '--mem', '64', '--storage', '64M')
        .catch(() => undefined),
    );
    await eventually(
      () => cluster().json<NodeJson[]>('node', 'ls'),
      (nodes) => nodes.length === names.length,
    );
    interrupted.abort();
    const { code, stderr } = await cluster().run('down', '--purge');
    await Promise.all(creations);
    expect({ code, error: /^nexus: .*$/m.exec(stderr)?.[0] }).to.deep.equal({ code: 0, error: undefined });
    await cluster().controllerEnd();
  });
});
