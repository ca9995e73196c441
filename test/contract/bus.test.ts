/** What every bus keeps: agents are heard as themselves, commands are answered or fail by code, outages are told. */
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import type { FakeAnswer } from '../fakes/agent-bus.js';
import type { AgentBus, BusListener } from '../../controller/bus/port.js';
import { AgentCommand, AgentHeartbeat, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import { BUSES, signByOpenssl, type AgentOnBus, type OpenedBus } from '../support/buses.js';
import { eventually } from '../support/cluster.js';
import { codeOf, errorOf } from '../support/codes.js';
import { nodeId } from '../support/records.js';
import { skipWithout } from '../support/system.js';

const ONE = nodeId(1);
const OTHER = nodeId(2);
const PATIENCE_MS = 30_000;

const heartbeatOf = (agentInstance: string): AgentHeartbeat =>
  AgentHeartbeat.fromPartial({ nodeId: ONE, agentInstance, startedAtMs: 5n, version: '1' });
const command = AgentCommand.fromPartial({ deleteChunks: { chunkIds: ['a', 'b'] } });

/** Remembers what it is told, in order. */
class Heard implements BusListener {
  readonly all: string[] = [];
  readonly reports: AgentReport[] = [];

  heartbeat(node: NodeId, heartbeat: AgentHeartbeat): void {
    this.all.push(`heartbeat ${node} ${heartbeat.agentInstance}`);
  }
  garbled(node: NodeId): void {
    this.all.push(`garbled ${node}`);
  }
  report(node: NodeId, report: AgentReport): void {
    this.all.push(`report ${node}`);
    this.reports.push(report);
  }
  disconnected(node: NodeId): void {
    this.all.push(`disconnected ${node}`);
  }
  available(isAvailable: boolean): void {
    this.all.push(isAvailable ? 'back' : 'gone');
  }
}

for (const { name, needsServer, tellsDisconnects, ownsServer, open } of BUSES) {
  describe(`bus, ${name}`, function () {
    this.timeout(180_000);
    let opened: OpenedBus;
    let bus: AgentBus;
    let heard: Heard;
    let signAsBefore: (() => void) | undefined;

    before(function () {
      const isThere = !needsServer || spawnSync('nats-server', ['--version']).status === 0;
      skipWithout(this, isThere ? undefined : 'nats-server is not installed: run deploy/bootstrap.sh');
      signAsBefore = signByOpenssl();
    });
    after(() => signAsBefore?.());
    beforeEach(async () => {
      opened = await open();
      ({ bus } = opened);
      heard = new Heard();
      await bus.start(heard);
    });
    afterEach(async () => {
      await opened.dispose();
    });

    const connect = async (node: NodeId, answer?: FakeAnswer): Promise<AgentOnBus> =>
      opened.connect(node, await bus.issueCredentials(node), answer);
    const hears = (what: string): Promise<unknown> =>
      eventually(
        () => heard.all,
        (all) => all.includes(what),
      );

    it('has an address, and a server of its own or none', () => {
      expect(bus.url).to.match(/^nats:/);
      expect(bus.serverPid > 0).to.equal(ownsServer);
    });

    if (needsServer) {
      it('hears no more of an agent than makes sense, says so, and hears the others', async () => {
        const flooder = await connect(ONE);
        for (let sent = 0; sent < 3000; sent += 1) flooder.heartbeat(heartbeatOf('flood'));
        const garbled = (): number => heard.all.filter((line) => line === `garbled ${ONE}`).length;
        await eventually(garbled, (count) => count >= 2000);
        const other = await connect(OTHER);
        other.heartbeat({ ...heartbeatOf('calm'), nodeId: OTHER });
        await hears(`heartbeat ${OTHER} calm`);
        expect(heard.all.filter((line) => line === `heartbeat ${ONE} flood`).length).to.be.within(1, 1000);
      });
    }

    it('passes a pulse on while its server does, and says so when it does not', async () => {
      expect(await bus.pulse(PATIENCE_MS)).to.equal(true);
      await opened.hang();
      expect(await bus.pulse(200)).to.equal(false);
      const refused = await errorOf(() => bus.request(ONE, command, 60_000));
      expect([refused.code, refused.details['silentAgent']]).to.deep.equal(['unavailable', undefined]);
      opened.goOn();
      await eventually(() => bus.pulse(PATIENCE_MS), Boolean);
    });

    it('replaces a server of its own that hangs, and leaves another alone', async () => {
      await opened.hang();
      expect(await bus.replaceServer()).to.equal(ownsServer || !needsServer);
      if (needsServer && !ownsServer) expect(await bus.pulse(200)).to.equal(false);
      if (!ownsServer) opened.goOn();
      await eventually(() => bus.pulse(PATIENCE_MS), Boolean);
      const one = await connect(ONE);
      one.heartbeat(heartbeatOf('after'));
      await hears(`heartbeat ${ONE} after`);
    });

    it('delivers what agents publish, in order and by node', async () => {
      const one = await connect(ONE);
      const other = await connect(OTHER);
      one.heartbeat(heartbeatOf('first'));
      one.report(AgentReport.fromPartial({ atMs: 7n, chunks: 3n }));
      one.heartbeat(heartbeatOf('second'));
      await hears(`heartbeat ${ONE} second`);
      other.heartbeat(heartbeatOf('of the other'));
      await hears(`heartbeat ${OTHER} of the other`);
      expect(heard.all).to.deep.equal([
        `heartbeat ${ONE} first`,
        `report ${ONE}`,
        `heartbeat ${ONE} second`,
        `heartbeat ${OTHER} of the other`,
      ]);
      expect(heard.reports).to.deep.equal([AgentReport.fromPartial({ atMs: 7n, chunks: 3n })]);
    });

    it('drops what an agent says in the name of another', async () => {
      const one = await connect(ONE);
      one.heartbeat(heartbeatOf('forged'), OTHER);
      one.report(AgentReport.fromPartial({}), OTHER);
      one.heartbeat(heartbeatOf('true'));
      await hears(`heartbeat ${ONE} true`);
      expect(heard.all).to.deep.equal([`heartbeat ${ONE} true`]);
    });

    it('survives what is no message', async () => {
      const one = await connect(ONE);
      one.garbage();
      one.heartbeat(heartbeatOf('after'));
      await hears(`heartbeat ${ONE} after`);
      expect(heard.all.filter((heardOne) => heardOne !== `garbled ${ONE}`)).to.have.length(1);
    });

    it('brings a command to its agent and the answer back', async () => {
      const asked: AgentCommand[] = [];
      await connect(ONE, async (request) => {
        asked.push(request);
        return { deletedChunkIds: ['a'] };
      });
      await connect(OTHER, async () => ({ deletedChunkIds: ['wrong'] }));
      expect((await bus.request(ONE, command, PATIENCE_MS)).deletedChunkIds).to.deep.equal(['a']);
      expect(asked).to.deep.equal([command]);
    });

    it('keeps many answers apart', async () => {
      await connect(ONE, async (request) => ({ inspection: request.deleteChunks?.chunkIds[0] ?? '' }));
      const numbers = Array.from({ length: 50 }, (_, number) => String(number));
      const replies = await Promise.all(
        numbers.map((number) =>
          bus.request(ONE, AgentCommand.fromPartial({ deleteChunks: { chunkIds: [number] } }), PATIENCE_MS),
        ),
      );
      expect(replies.map((reply) => reply.inspection)).to.deep.equal(numbers);
    });

    it("passes on an agent's refusal by its code", async () => {
      await connect(ONE, async () => ({ errorCode: 'resource_exhausted', errorMessage: 'the volume is full' }));
      await connect(OTHER, async () => ({ errorCode: 'from_the_future', errorMessage: 'who knows' }));
      const error = await errorOf(() => bus.request(ONE, command, PATIENCE_MS));
      expect(error).to.include({ code: 'resource_exhausted', message: 'the volume is full' });
      expect(await codeOf(() => bus.request(OTHER, command, PATIENCE_MS))).to.equal('internal');
    });

    it('says that an agent is not there, at once, or that it does not answer', async () => {
      const before = performance.now();
      const absence = await errorOf(() => bus.request(ONE, command, PATIENCE_MS));
      expect(absence).to.deep.include({ code: 'unavailable', details: { silentAgent: ONE } });
      expect(performance.now() - before).to.be.below(PATIENCE_MS);
      await connect(ONE);
      const silence = await errorOf(() => bus.request(ONE, command, 100));
      expect(silence).to.deep.include({ code: 'deadline_exceeded', details: { silentAgent: ONE } });
    });

    it('has no agent any more when its connection is closed', async () => {
      const one = await connect(ONE, async () => ({}));
      await bus.request(ONE, command, PATIENCE_MS);
      await one.close();
      // The server learns of it a moment later.
      await eventually(
        () => codeOf(() => bus.request(ONE, command, 100)),
        (code) => code === 'unavailable',
      );
    });

    if (tellsDisconnects) {
      it('tells of a closed connection, of that one alone', async () => {
        const one = await connect(ONE);
        const other = await connect(OTHER);
        await one.close();
        await hears(`disconnected ${ONE}`);
        other.heartbeat(heartbeatOf('still here'));
        await hears(`heartbeat ${OTHER} still here`);
        expect(heard.all).to.not.include(`disconnected ${OTHER}`);
      });
    }

    it('tells of an outage and of its end; requests fail meanwhile, and agents are heard again by themselves', async () => {
      const one = await connect(ONE, async () => ({ inspection: 'well' }));
      opened.goDown();
      await hears('gone');
      expect(await codeOf(() => bus.request(ONE, command, 100))).to.equal('unavailable');
      opened.comeBack();
      await hears('back');
      await eventually(
        () => {
          one.heartbeat(heartbeatOf('again'));
          return heard.all;
        },
        (all) => all.includes(`heartbeat ${ONE} again`),
      );
      expect((await bus.request(ONE, command, PATIENCE_MS)).inspection).to.equal('well');
      expect(heard.all.filter((what) => what === 'gone' || what === 'back')).to.deep.equal(['gone', 'back']);
    });

    it('lets a request that was on its way into an outage fail as that, not as a slow agent', async () => {
      await connect(ONE);
      const failing = codeOf(() => bus.request(ONE, command, 1000));
      opened.goDown();
      expect(await failing).to.equal('unavailable');
      opened.comeBack();
      await hears('back');
    });

    it('is gone for everybody when it was stopped, and may be stopped twice', async () => {
      await connect(ONE, async () => ({}));
      await bus.close();
      await bus.close();
      expect(await codeOf(() => bus.request(ONE, command, 100))).to.equal('unavailable');
    });
  });
}
