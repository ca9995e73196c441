/** The bus and the bridge are ill: they are named once, nobody else is blamed, all goes on as far as it can and mends itself. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface StatusJson {
  readonly gateway: { readonly url: string };
  readonly nats: { readonly pid: number };
  readonly causes: readonly { readonly kind: string; readonly problem: string }[];
  readonly warnings: readonly string[];
}
interface EventJson {
  readonly type: string;
}

const NODES = ['a', 'b', 'c'];
const PATIENCE_MS = 60_000;

describeWithCluster('what all nodes depend on', { gateway: true }, (cluster) => {
  const status = (): Promise<StatusJson> => cluster().json<StatusJson>('status');
  const nodes = (): Promise<NodeJson[]> => cluster().json<NodeJson[]>('node', 'ls');
  const upload = async (): Promise<string> =>
    (await cluster().json<{ id: string }>('file', 'upload', join(cluster().folder, 'data'), '--replicas', '2')).id;
  const ip = (...args: string[]): Buffer => execFileSync('ip', args);
  const bridge = (): string => `nx-${cluster().instance}`;
  const events = async (): Promise<string[]> => (await cluster().json<EventJson[]>('events')).map(({ type }) => type);
  /** Nobody was blamed so far. */
  const expectNoBlame = async (): Promise<void> => {
    const told = await events();
    for (const type of ['node.suspect', 'node.lost', 'node.failed', 'repair.started', 'repair.blocked']) {
      expect(told, 'blamed').to.not.include(type);
    }
  };
  const isWell = async (): Promise<void> => {
    await eventually(
      async () => ({ causes: (await status()).causes, states: (await nodes()).map((node) => node.status) }),
      ({ causes, states }) => causes.length === 0 && states.every((state) => state === 'Running'),
      PATIENCE_MS,
    );
  };

  before(async () => {
    writeFileSync(join(cluster().folder, 'data'), randomBytes(CHUNK_SIZE_BYTES + 5));
    for (const name of NODES) await cluster().ok('node', 'create', name, '--storage', '128M');
    await upload();
  });

  it('is named once while the bus hangs; uploads and reads go on, and a restart takes no node down', async () => {
    const { nats, gateway } = await status();
    process.kill(nats.pid, 'SIGSTOP');
    const { warnings } = await eventually(status, ({ causes }) => causes.length > 0, PATIENCE_MS);
    expect(warnings.filter((text) => text.includes('the bus does not answer'))).to.have.length(1);
    expect(warnings).to.have.length(1);
    const ready = await fetch(`${gateway.url}/readyz`);
    const said = (await ready.json()) as { causes?: { problem: string }[] };
    expect(ready.status).to.equal(200);
    if (said.causes !== undefined)
      expect(said.causes.map((cause) => cause.problem)).to.deep.equal(['the bus does not answer']);
    const id = await upload();
    await cluster().ok('file', 'download', id, join(cluster().folder, 'read'));
    const restarted = await cluster().run('node', 'restart', 'a');
    // It was replaced meanwhile, or the restart was refused; in neither case the node is taken down.
    if (restarted.code !== 0) expect(restarted.stderr).to.include('the bus does not answer');
    await isWell();
    expect((await status()).nats.pid).to.not.equal(nats.pid);
    expect(await events()).to.include.members(['bus.down', 'bus.replaced', 'bus.up']);
    await expectNoBlame();
  });

  it('goes on as if nothing had been when the bus is merely continued', async () => {
    const { nats } = await status();
    process.kill(nats.pid, 'SIGSTOP');
    await eventually(status, ({ causes }) => causes.length > 0, PATIENCE_MS);
    process.kill(nats.pid, 'SIGCONT');
    await isWell();
    await expectNoBlame();
  });

  it('is restored where the bridge lost its address, is down, or is gone', async () => {
    const ruins = [
      ['address', 'flush', 'dev', bridge()],
      ['link', 'set', 'dev', bridge(), 'down'],
      ['link', 'delete', 'dev', bridge()],
    ];
    for (const [at, ruin] of ruins.entries()) {
      ip(...ruin);
      await eventually(
        async () => (await events()).filter((type) => type === 'network.up').length,
        (count) => count === at + 1,
        PATIENCE_MS,
      );
      await isWell();
      await upload();
    }
    await expectNoBlame();
  });

  it('joins a node whose link is off the bridge, or gone', async () => {
    const [node] = await nodes();
    const link = `${bridge()}-${node?.slot ?? 0}`;
    for (const [at, cut] of [
      ['link', 'set', 'dev', link, 'nomaster'],
      ['link', 'delete', 'dev', link],
    ].entries()) {
      const before = (await events()).filter((type) => type === 'node.relinked').length;
      ip(...cut);
      await eventually(
        async () => (await events()).filter((type) => type === 'node.relinked').length,
        (count) => count > before,
        PATIENCE_MS,
      );
      await upload();
      expect((await cluster().run('agent', 'inspect', node?.name ?? '')).code, `way ${at}`).to.equal(0);
    }
    await expectNoBlame();
  });
});
