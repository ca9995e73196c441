/** The bus: each agent may speak for itself alone; an external server serves as well as our own. */
import { connect, credsAuthenticator, PermissionViolationError } from '@nats-io/transport-node';
import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAccounts, serverConfig } from '../../controller/bus/credentials.js';
import { subjectsOf } from '../../shared/bus/subjects.js';
import type { NodeId } from '../../shared/ids.js';
import { eventually, TestCluster, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

describeWithCluster('the bus', {}, (cluster) => {
  it('refuses what one agent publishes in the name of another', async () => {
    const [mine, other] = await Promise.all(
      ['one', 'two'].map((name) => cluster().json<NodeJson>('node', 'create', name, '--storage', '64M')),
    );
    const { nats } = await cluster().json<{ nats: { url: string } }>('status');
    const creds = readFileSync(join(cluster().runDir, mine?.id ?? '', 'config', 'agent.creds'));
    const connection = await connect({ servers: nats.url, authenticator: credsAuthenticator(creds) });
    const violations: string[] = [];
    void (async () => {
      for await (const status of connection.status()) {
        if (status.type === 'error' && status.error instanceof PermissionViolationError)
          violations.push(status.error.message);
      }
    })();
    const subjects = subjectsOf(cluster().instance);
    const forged = [
      subjects.heartbeat(other?.id as NodeId),
      subjects.report(other?.id as NodeId),
      subjects.command(other?.id as NodeId),
    ];
    for (const subject of forged) connection.publish(subject, new Uint8Array([1]));
    connection.subscribe(subjects.allAgents, { callback: () => undefined });
    connection.subscribe(subjects.command(other?.id as NodeId), { callback: () => undefined });
    await connection.flush();
    await eventually(
      () => violations.length,
      (count) => count === forged.length + 2,
    );
    for (const subject of forged) expect(violations.join('\n')).to.contain(subject);
    await connection.close();
  });

  it('keeps credentials and configuration of an agent from everyone else', async () => {
    const [node] = await cluster().json<NodeJson[]>('node', 'ls');
    const uid = '65534';
    const read = ['node', 'exec', '--user', uid, node?.name ?? '', '--', 'cat', '/.nexus/config/agent.creds'];
    expect((await cluster().run(...read)).code).to.equal(1);
  });
});

describe('an external NATS server', function () {
  this.timeout(180_000);

  it('serves the cluster, with credentials signed by the account it is given', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-nats-'));
    const accounts = await loadAccounts(folder);
    const port = 20_000 + (process.pid % 20_000);
    const listen = { host: '127.0.0.1', port, pidFile: join(folder, 'nats.pid') };
    writeFileSync(join(folder, 'nats.conf'), await serverConfig(accounts, listen));
    const seedFile = join(folder, 'account.seed');
    writeFileSync(seedFile, accounts.nodes.getSeed(), { mode: 0o600 });
    const server = spawn('nats-server', ['-c', join(folder, 'nats.conf')], { stdio: 'ignore' });
    try {
      await eventually(() => answers(port), Boolean);
      const env = { NEXUS_NATS_URL: `nats://127.0.0.1:${port}`, NEXUS_NATS_ACCOUNT_SEED_FILE: seedFile };
      const cluster = await TestCluster.start({ runtime: 'process', env });
      try {
        await cluster.ok('node', 'create', 'outside', '--storage', '64M');
        const status = await cluster.json<{ nats: { url: string; pid: number } }>('status');
        expect(status.nats).to.deep.equal({ url: env.NEXUS_NATS_URL, pid: 0 });
      } finally {
        expect(await cluster.dispose()).to.deep.equal([]);
      }
    } finally {
      server.kill();
      await once(server, 'exit');
      rmSync(folder, { recursive: true });
    }
  });
});

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
