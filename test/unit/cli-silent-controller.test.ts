/** A controller that is there and does not answer is never taken for one that is not running. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { lockInstance, type InstanceLock } from '../../controller/host/instance-lock.js';
import { loadSettings } from '../../shared/config/settings.js';
import { FakeController, runNexus } from '../support/fake-controller.js';

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

describe('a controller that has just started again', () => {
  it('is reached while another command of the same process still waits for the one before', async () => {
    await using controller = await FakeController.start({
      listImages: (_call: unknown, answer: (error: null, response: object) => void) => answer(null, { images: [] }),
    });
    const { openController } = await import('../../cli/connect/connection.js');
    const settings = { ...loadSettings({ env: {}, uid: 1000 }), socket: controller.socket };
    const other = await openController(settings, new AbortController().signal);
    try {
      await controller.stop();
      const failure = await other.call(other.image, other.image.listImages, {}).catch((error: unknown) => error);
      expect(failure).to.include({ code: 'unavailable' });
      await controller.listen();
      const { exitCode, stderr } = await controller.run(['image', 'ls']);
      expect(exitCode, stderr).to.equal(0);
    } finally {
      await other.close();
    }
  });
});
