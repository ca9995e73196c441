/** A controller that is there and does not answer is never taken for one that is not running. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { lockInstance, type InstanceLock } from '../../controller/host/instance-lock.js';
import { runNexus } from '../support/fake-controller.js';

describe('a controller that does not answer', function () {
  this.timeout(180_000);
  const folder = mkdtempSync(join(tmpdir(), 'nexus-silent-'));
  const env = {
    NEXUS_INSTANCE: 'silent',
    NEXUS_SOCKET: join(folder, 'admin.sock'),
    NEXUS_STATE_DIR: folder,
    NEXUS_RUN_DIR: join(folder, 'run'),
    NEXUS_RUNTIME: 'process',
  };
  let lock: InstanceLock;
  let listening: Server;
  /** Accepted, and never answered. */
  const sockets = new Set<Socket>();

  before(async () => {
    lock = lockInstance(folder, 'silent');
    listening = createServer((socket) => {
      sockets.add(socket);
    }).listen(env.NEXUS_SOCKET);
    await once(listening, 'listening');
  });
  after(() => {
    lock.release();
    for (const socket of sockets) socket.destroy();
    listening.close();
    rmSync(folder, { recursive: true });
  });

  for (const line of ['status', 'down', 'up']) {
    it(`fails nexus ${line}, which names it and what to do`, async () => {
      const { exitCode, stdout, stderr } = await runNexus(line.split(' '), env);
      expect(exitCode, stderr).to.equal(5);
      expect(stdout).to.equal('');
      expect(stderr)
        .to.include(`(pid ${process.pid}) is running but does not answer`)
        .and.include(`kill -9 ${process.pid}, then nexus up --instance silent`)
        .and.include(join(folder, 'controller.log'));
    });
  }
});
