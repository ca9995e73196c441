/** A controller starts on hosts that an earlier one, a crash, a reboot or somebody's hand has left in odd states. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { isAlive } from '../../controller/host/process-identity.js';
import { nodeRunDir } from '../../controller/node/paths.js';
import { reconcileAtBoot } from '../../controller/node/watch/reconcile.js';
import { NodeMender } from '../../controller/node/watch/mend.js';
import { bootId, ended, identityOf, started } from '../../controller/hosting/record.js';
import type { NodePatch, NodeRecord } from '../../controller/store/port/store.js';
import { AgentHeartbeat, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { NexusError } from '../../shared/errors.js';
import { newNodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { NodeBench } from '../support/nodes.js';
import { nodeRecord } from '../support/records.js';

const never = new AbortController().signal;

const hostedIn = (record: NodeRecord, boot: string): NodeRecord => ({
  ...record,
  hosting: { ...ended(record.hosting), bootId: boot },
});

/** As a running node's record is, but for the process that a test gives it. */
const recordOf = (slot: number, change: Partial<NodeRecord> = {}, boot = bootId()): NodeRecord => ({
  ...hostedIn(nodeRecord(`node-${slot}`, slot), boot),
  status: 'Running',
  statusReason: '',
  desired: 'running',
  memoryMb: 64,
  storageBytes: 64 * MIB,
  ...change,
});

describe('reconciling at the start of the controller', () => {
  let bench: NodeBench;
  afterEach(async () => {
    await bench.dispose();
  });

  const reconcile = (): Promise<void> => reconcileAtBoot(bench.service, never);
  const statusOf = (record: NodeRecord): string | undefined => bench.context.registry.get(record.id)?.status;
  const patch = (record: NodeRecord, change: NodePatch): Promise<NodeRecord> =>
    bench.context.registry.update(record.id, change);
  /** All that a running node has on the host; its record knows its process. */
  const leaveAll = async (record: NodeRecord): Promise<NodeRecord> => {
    await bench.leaveVolume(record);
    const identity = await bench.leaveContainer(record);
    await bench.runtime.start(record.id, never);
    await bench.network.attach({ slot: record.hosting.slot, ip: record.ip, pid: identity.pid }, never);
    mkdirSync(nodeRunDir(bench.settings, record.id));
    return await patch(record, { hosting: started(record.hosting, identity) });
  };
  const open = async (...records: NodeRecord[]): Promise<void> => {
    bench = await NodeBench.open(records);
  };

  describe('a node that should run', () => {
    it('and does is adopted: nothing of it but orphaned commands is touched, and its silence counts from now', async () => {
      const record = recordOf(0);
      await open(record);
      bench.agentsSpeak = false;
      const left = await leaveAll(record);
      bench.script.calls.length = 0;
      await reconcile();
      expect(bench.script.calls).to.deep.equal(['runtime.list', 'network.list', `runtime.endCommands ${record.id}`]);
      expect(statusOf(record)).to.equal('Running');
      expect(isAlive(identityOf(left))).to.equal(true);
      expect(bench.context.registry.agent(record.id)?.receiptKey.toString('base64')).to.equal(record.receiptKey);
    });

    it('and has been heard of before that has its free room known', async () => {
      const record = recordOf(0);
      await open(record);
      await leaveAll(record);
      const report = AgentReport.fromPartial({ volumeTotalBytes: 64n, volumeFreeBytes: 32n });
      bench.context.registry.heard(record.id, AgentHeartbeat.fromPartial({ agentInstance: 'one', report }));
      await reconcile();
      expect(bench.context.registry.agent(record.id)?.report?.volumeFreeBytes).to.equal(32n);
    });

    it('is waited for until it is heard, so that it does not seem full', async () => {
      const record = recordOf(0);
      await open(record);
      bench.agentsSpeak = false;
      await leaveAll(record);
      const reconciling = reconcile();
      await eventually(
        () => bench.context.registry.agent(record.id),
        (view) => view !== undefined,
      );
      const report = AgentReport.fromPartial({ volumeTotalBytes: 64n, volumeFreeBytes: 32n });
      bench.context.registry.heard(record.id, AgentHeartbeat.fromPartial({ agentInstance: 'one', report }));
      await reconciling;
      expect(bench.context.registry.agent(record.id)?.report?.volumeFreeBytes).to.equal(32n);
    });

    it("and whose process number is now a stranger's is Failed; the stranger lives", async () => {
      const record = recordOf(0);
      await open(record);
      await leaveAll(record);
      await bench.runtime.end(record.id);
      const stranger = { pid: process.pid, startTicks: '1' };
      await patch(record, { hosting: started(record.hosting, stranger) });
      await reconcile();
      expect(statusOf(record)).to.equal('Failed');
      expect(bench.leftOf(record)).to.deep.equal(['volume', 'record']);
      expect(bench.script.calls.filter((call) => call.startsWith('runtime.kill'))).to.deep.equal([]);
    });

    it('and ended while the controller was away is Failed, with the reason; its volume stays', async () => {
      const record = recordOf(0, { status: 'Suspect' });
      await open(record);
      await leaveAll(record);
      await bench.runtime.end(record.id);
      await reconcile();
      expect(bench.context.registry.expect(record.id)).to.deep.include({
        status: 'Failed',
        hosting: ended(record.hosting),
      });
      expect(bench.context.registry.expect(record.id).statusReason).to.include('while the controller was away');
      expect(bench.leftOf(record)).to.deep.equal(['volume', 'record']);
    });

    it("and ran before the host's last boot runs again", async () => {
      const record = recordOf(0, {}, 'an earlier one');
      await open(record);
      await bench.leaveVolume(record);
      await reconcile();
      const { status, hosting } = bench.context.registry.expect(record.id);
      expect(status).to.equal('Running');
      expect(hosting.bootId).to.equal(bootId());
      expect(hosting.process).to.deep.equal(bench.runtime.containers.get(record.id)?.identity);
    });

    it('and whose volume is gone is Failed and says so; others start all the same', async () => {
      const lost = recordOf(0, {}, 'an earlier one');
      const whole = recordOf(1, {}, 'an earlier one');
      await open(lost, whole);
      await bench.leaveVolume(whole);
      await reconcile();
      expect(statusOf(lost)).to.equal('Failed');
      expect(bench.context.registry.expect(lost.id).statusReason).to.match(/^start node node-0: the volume .* is gone/);
      expect(statusOf(whole)).to.equal('Running');
    });

    it('and was being stopped for an end of the cluster starts again', async () => {
      const record = recordOf(0, { status: 'Stopping' });
      await open(record);
      const before = await leaveAll(record);
      await reconcile();
      expect(isAlive(identityOf(before))).to.equal(false);
      expect(identityOf(bench.context.registry.expect(record.id))).to.not.deep.equal(identityOf(before));
      expect(statusOf(record)).to.equal('Running');
    });
  });

  describe('work that was cut off', () => {
    const parts = ['nothing', 'volume', 'container', 'link', 'everything'] as const;
    for (const part of parts) {
      it(`of a first creation that came as far as: ${part}; it is undone`, async () => {
        const record = recordOf(0, { status: 'Creating', receiptKey: '' });
        await open(record);
        if (part === 'everything') await leaveAll(record);
        if (part === 'volume' || part === 'container') await bench.leaveVolume(record);
        if (part === 'container') await bench.leaveContainer(record);
        if (part === 'link') await bench.network.attach({ slot: 0, ip: record.ip, pid: 1 }, never);
        await reconcile();
        expect(bench.leftOf(record)).to.deep.equal([]);
        expect(await bench.store.nodes.list()).to.deep.equal([]);
      });
    }

    it('of a later start is done again, with the volume that is there', async () => {
      const record = recordOf(0, { status: 'Creating' });
      await open(record);
      await bench.leaveVolume(record);
      await bench.leaveContainer(record);
      await reconcile();
      expect(statusOf(record)).to.equal('Running');
      expect(bench.script.calls.filter((call) => call.startsWith('volume.remove'))).to.deep.equal([]);
    });

    for (const status of ['Creating', 'Stopping'] as const) {
      it(`of a restart (${status}) that meets a full disk is made up for when the disk has room again`, async () => {
        const record = recordOf(0, { status });
        await open(record);
        await leaveAll(record);
        bench.script.failNext('store.update', 2, new NexusError('resource_exhausted', 'the disk is full'));
        await reconcile();
        expect(statusOf(record)).to.equal(status);
        for (let turn = 0; turn < 3; turn += 1) await bench.service.finishCutOff();
        expect(bench.context.registry.expect(record.id)).to.deep.include({
          status: 'Stopped',
          statusReason:
            'its start was interrupted: the disk is full; node node-0 starts automatically when that is over',
        });
        await new NodeMender(bench.service).tick(never);
        expect(statusOf(record)).to.equal('Running');
      });
    }

    it('of a removal is finished, though the container still lives', async () => {
      const record = recordOf(0, { status: 'Removing', desired: 'removed' });
      await open(record);
      const left = await leaveAll(record);
      await reconcile();
      expect(isAlive(identityOf(left))).to.equal(false);
      expect(bench.leftOf(record)).to.deep.equal([]);
      expect(statusOf(record)).to.equal(undefined);
    });

    it('of a stop is finished', async () => {
      const record = recordOf(0, { status: 'Stopping', desired: 'stopped' });
      await open(record);
      const left = await leaveAll(record);
      await reconcile();
      expect(isAlive(identityOf(left))).to.equal(false);
      expect(bench.context.registry.expect(record.id)).to.deep.include({
        status: 'Stopped',
        hosting: ended(record.hosting),
      });
      expect(bench.leftOf(record)).to.deep.equal(['volume', 'record']);
    });
  });

  for (const status of ['Stopped', 'Failed'] as const) {
    it(`ends a container that lives though its node is ${status}, and the node stays that`, async () => {
      const record = recordOf(0, { status, desired: 'stopped' });
      await open(record);
      const left = await leaveAll(record);
      await patch(record, { hosting: ended(record.hosting) });
      await reconcile();
      expect(isAlive(identityOf(left))).to.equal(false);
      expect(bench.leftOf(record)).to.deep.equal(['volume', 'record']);
      expect(statusOf(record)).to.equal(status);
    });
  }

  describe('leftovers that no node has', () => {
    it("are removed: container, link and folder; volumes and what is not a node's are left alone", async () => {
      const record = recordOf(1);
      await open(record);
      await leaveAll(record);
      const nobody = recordOf(5);
      await bench.leaveVolume(nobody);
      const { pid } = await bench.leaveContainer(nobody);
      await bench.network.attach({ slot: 5, ip: nobody.ip, pid }, never);
      const { runDir } = bench.settings;
      mkdirSync(join(runDir, newNodeId()));
      mkdirSync(join(runDir, 'nats.d'));
      writeFileSync(join(runDir, 'nats.d', 'nats.pid'), '1');
      const folders = (): boolean[] =>
        [nobody.id, record.id, 'nats.d/nats.pid'].map((name) => existsSync(join(runDir, name)));
      mkdirSync(join(runDir, nobody.id));
      await reconcile();
      expect(bench.leftOf(nobody)).to.deep.equal(['volume']);
      expect(bench.leftOf(record)).to.include.members(['container', 'link', 'volume', 'folder', 'record']);
      expect(folders()).to.deep.equal([false, true, true]);
      expect(statusOf(record)).to.equal('Running');
    });

    it('that cannot be removed keep nobody from being adopted, started or cleaned up', async () => {
      const living = recordOf(0);
      const rebooted = recordOf(1, {}, 'an earlier one');
      await open(living, rebooted);
      await leaveAll(living);
      await bench.leaveVolume(rebooted);
      const stuck = recordOf(5);
      const removable = recordOf(6);
      for (const nobody of [stuck, removable]) {
        const { pid } = await bench.leaveContainer(nobody);
        await bench.network.attach({ slot: nobody.hosting.slot, ip: nobody.ip, pid }, never);
      }
      bench.script.failNext(`runtime.remove ${stuck.id}`);
      bench.script.failNext(`network.detach ${stuck.hosting.slot}`);
      await reconcile();
      expect(bench.leftOf(stuck)).to.deep.equal(['container', 'link']);
      expect(bench.leftOf(removable)).to.deep.equal([]);
      expect([statusOf(living), statusOf(rebooted)]).to.deep.equal(['Running', 'Running']);
      // The next start finds them again.
      await reconcile();
      expect(bench.leftOf(stuck)).to.deep.equal([]);
    });
  });

  it("goes on with the others when one node's container cannot be removed, and finishes that one next time", async () => {
    const stuck = recordOf(0, { status: 'Removing', desired: 'removed' });
    const stopping = recordOf(1, { status: 'Stopping', desired: 'stopped' });
    await open(stuck, stopping);
    await leaveAll(stuck);
    await leaveAll(stopping);
    bench.script.failNext(`runtime.remove ${stuck.id}`);
    await reconcile();
    expect(statusOf(stopping)).to.equal('Stopped');
    expect(statusOf(stuck)).to.equal('Removing');
    expect(bench.leftOf(stuck)).to.include.members(['volume', 'record']);
    await reconcile();
    expect(bench.leftOf(stuck)).to.deep.equal([]);
  });

  it('does the same when it is done twice', async () => {
    const records = [recordOf(0), recordOf(1, { status: 'Stopped', desired: 'stopped' })];
    await open(...records);
    const [living] = records;
    const left = await leaveAll(living!);
    await bench.leaveVolume(records[1]!);
    await reconcile();
    const first = await bench.store.nodes.list();
    await reconcile();
    expect(await bench.store.nodes.list()).to.deep.equal(first);
    expect(isAlive(identityOf(left))).to.equal(true);
  });
});
