/** The end of a cluster while something else is going on in it. */
import { expect } from 'chai';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

// The suite's own end is the purge, and looks for what is left.
describeWithCluster('a purge', {}, (cluster) => {
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
